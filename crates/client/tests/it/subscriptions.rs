//! Subscriptions: what is heard, and what is said when something may have been missed.

use std::time::Duration;

use dormouse_client::{Client, Error, Event, TestServer};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::fake::{Act, Fake, json};

const PATIENCE: Duration = Duration::from_secs(20);

async fn next(stream: &mut dormouse_client::Subscription) -> Option<dormouse_client::Result<Event>> {
    timeout(PATIENCE, stream.next()).await.expect("an event comes in time")
}

fn message(channel: &str, payload: &str) -> Event {
    Event::Message { channel: channel.to_owned(), pattern: None, payload: payload.to_owned() }
}

#[tokio::test]
async fn messages_come_in_order_from_all_channels() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    let mut heard = client.subscribe(["a b/c?", "x,y", "ü"]).unwrap();
    for name in ["a b/c?", "x,y", "ü"] {
        assert_eq!(next(&mut heard).await.unwrap().unwrap(), Event::Subscribed { name: name.to_owned() });
    }
    let mut all = client.psubscribe(["*"]).unwrap();
    assert_eq!(next(&mut all).await.unwrap().unwrap(), Event::Subscribed { name: "*".to_owned() });
    for (channel, payload) in [("a b/c?", "one\ntwo\n"), ("x,y", "1,2,3"), ("ü", ""), ("ü", "{\"ä\":1}")] {
        assert_eq!(client.publish(channel, payload).await.unwrap(), 2);
        assert_eq!(next(&mut heard).await.unwrap().unwrap(), message(channel, payload));
        // A pattern does not say where the channel's name ends: the first comma is taken for that.
        let by_pattern = next(&mut all).await.unwrap().unwrap();
        let expected = if channel == "x,y" { "y,1,2,3" } else { payload };
        assert_eq!(by_pattern.payload(), Some(expected));
    }
    drop(heard);
    let gone = async {
        while client.publish("ü", "x").await.unwrap() == 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("a subscription that is dropped ends");
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_told() {
    let events = |text: &str| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        Act::Say(format!("{head}{text}").into_bytes())
    };
    let fake = Fake::start([
        events("data: subscribe,c,1\n\ndata: message,c,one\n\ndata: message,c,lo"),
        json(503, "{\"error\":\"ERR not now\"}"),
        events("data: subscribe,c,1\n\ndata: message,c,two\n\n"),
        json(401, "{\"error\":\"WRONGPASS invalid or missing auth token\"}"),
    ])
    .await;
    let mut heard = fake.client().subscribe(["c"]).unwrap();
    let subscribed = Event::Subscribed { name: "c".to_owned() };
    for event in [subscribed.clone(), message("c", "one"), Event::Gap, subscribed, message("c", "two")] {
        assert_eq!(next(&mut heard).await.unwrap().unwrap(), event);
    }
    let error = next(&mut heard).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Auth(_)), "{error:?}");
    assert!(next(&mut heard).await.is_none());
    assert!(fake.requests().iter().all(|text| text.starts_with("POST /subscribe/c HTTP/1.1\r\n")));
}

#[tokio::test]
async fn what_cannot_be_subscribed_to_is_an_error() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    assert!(client.subscribe(Vec::<String>::new()).is_err() && client.subscribe([".."]).is_err());
    let nobody = Client::new(server.url(), "no-such-token").unwrap();
    let mut heard = nobody.subscribe(["c"]).unwrap();
    assert!(matches!(next(&mut heard).await, Some(Err(Error::Auth(_)))));
    let fake = Fake::start([json(200, "{\"result\":\"PONG\"}")]).await;
    let mut heard = fake.client().subscribe(["c"]).unwrap();
    assert!(matches!(next(&mut heard).await, Some(Err(Error::Unexpected { .. }))));
}
