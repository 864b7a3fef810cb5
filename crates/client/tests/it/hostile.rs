//! Endpoints that are broken, overloaded, or something else altogether.

use std::time::{Duration, Instant};

use dormouse_client::{Client, Error, Retry};

use crate::fake::{Act, Fake, answer, json};

const READS: usize = 3;

#[tokio::test]
async fn what_is_no_answer_is_told_without_its_bytes() {
    for (body, part) in [
        ("secret", "not JSON"),
        ("{\"result\":\"secret", "ends too early"),
        ("{\"secret\":1}", "without a result"),
        ("{\"result\":\"secret!\"}", "not in base64"),
        ("{\"result\":1}secret", "something behind"),
        ("[{\"result\":1}]", "no answer"),
        ("", "ends too early"),
    ] {
        let fake = Fake::start([json(200, body)]).await;
        let error = fake.client().get::<String>("k").await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Unexpected { .. }), "{error:?}");
        assert!(text.contains(part) && !text.contains("secret"), "{text}");
        assert_eq!(fake.requests().len(), 1, "what an endpoint answers is not asked for again");
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_names_both() {
    let fake = Fake::start([json(200, "{\"result\":[\"c2VjcmV0\"]}")]).await;
    let error = fake.client().get::<i64>("k").await.unwrap_err();
    assert_eq!(error.to_string(), "GET answered an array where an integer was expected");
}

#[tokio::test]
async fn a_body_cut_short_is_read_again_but_not_written_again() {
    let cut = Act::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\":".to_vec());
    let good = json(200, "{\"result\":1}");
    let fake = Fake::start([cut.clone(), cut.clone(), good.clone()]).await;
    assert_eq!(fake.client().get::<i64>("k").await.unwrap(), Some(1));
    let fake = Fake::start([cut.clone(), good.clone()]).await;
    let error = fake.client().incr("k").await.unwrap_err();
    assert!(matches!(error, Error::Transport(_)) && error.is_ambiguous(), "{error:?}");
    assert_eq!(fake.requests().len(), 1);
    let fake = Fake::start([cut, good]).await;
    assert_eq!(fake.client().incr("k").idempotency_key("mine").await.unwrap(), 1);
    let requests = fake.requests();
    assert!(requests.len() == 2 && requests.iter().all(|text| text.contains("idempotency-key: mine\r\n")));
}

#[tokio::test]
async fn errors_of_a_proxy_are_kept_apart_from_the_servers() {
    let page = answer(502, "Content-Type: text/html; charset=utf-8\r\n", "<html>secret</html>");
    let fake = Fake::start([page]).await;
    let error = fake.client().get::<String>("k").await.unwrap_err();
    assert_eq!(error.to_string(), "text/html that is no answer of this protocol (status 502)");
    assert!(error.is_retryable() && error.is_ambiguous());
    assert_eq!(fake.requests().len(), READS);
    assert!(fake.client().set("k", "v").await.is_err());
    assert_eq!(fake.requests().len(), READS + 1, "a write may have run");
    let fake = Fake::start([json(500, "{\"error\":\"ERR out of luck\"}")]).await;
    assert_eq!(fake.client().get::<String>("k").await.unwrap_err().code(), Some("ERR"));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Fake::start([json(200, "{\"result\":1}")]).await;
    let location = format!("Location: {}/\r\n", elsewhere.url());
    for status in [301, 302, 303, 307, 308] {
        let fake = Fake::start([answer(status, &location, "")]).await;
        let error = fake.client().get::<i64>("k").await.unwrap_err();
        assert!(error.to_string().contains("redirects"), "{error}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_limited_client_comes_back_when_it_is_told_to() {
    let wait = answer(429, "Retry-After: 1\r\n", "{\"error\":\"ERR slow down\"}");
    let fake = Fake::start([wait.clone(), json(200, "{\"result\":7}")]).await;
    let since = Instant::now();
    // Nothing has run, so a write comes back, too.
    assert_eq!(fake.client().incr("k").await.unwrap(), 7);
    assert!(since.elapsed() >= Duration::from_secs(1));
    let fake = Fake::start([wait]).await;
    let since = Instant::now();
    let error = fake.client().get::<i64>("k").timeout(Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert!(since.elapsed() < Duration::from_millis(400), "there is no use in waiting");
    let quota = json(400, "{\"error\":\"ERR max requests limit exceeded. Limit: 1\"}");
    let error = Fake::start([quota]).await.client().get::<i64>("k").await.unwrap_err();
    assert_eq!(error.kind(), "rate_limited");
}

#[tokio::test]
async fn a_silent_endpoint_is_given_up() {
    for bytes in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"] {
        let fake = Fake::start([Act::Stall(bytes.to_vec())]).await;
        let since = Instant::now();
        let error = fake.client().get::<i64>("k").timeout(Duration::from_millis(100)).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(_)) && since.elapsed() < Duration::from_secs(2), "{error:?}");
    }
    let fake = Fake::start([Act::Stall(Vec::new()), json(200, "{\"result\":1}")]).await;
    let client = fake.builder().attempt_timeout(Duration::from_millis(100)).build().unwrap();
    assert_eq!(client.get::<i64>("k").await.unwrap(), Some(1), "there is time for another attempt");
}

#[tokio::test]
async fn nobody_there_is_no_ambiguity() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::builder(format!("http://{address}"), "token").retry(Retry::never()).build().unwrap();
    let error = client.incr("k").await.unwrap_err();
    assert!(!error.is_ambiguous() && error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn too_long_an_answer_is_refused() {
    let body = format!("{{\"result\":\"{}\"}}", "QUJD".repeat(1000));
    let fake = Fake::start([json(200, &body)]).await;
    let client = fake.builder().answer_bytes_max(1000).retry(Retry::never()).build().unwrap();
    assert!(client.get::<String>("k").await.unwrap_err().to_string().contains("longer than this client takes"));
    let client = fake.builder().answer_bytes_max(body.len()).build().unwrap();
    assert_eq!(client.get::<String>("k").await.unwrap().unwrap().len(), 3000);
}

#[tokio::test]
async fn a_wrong_token_is_an_error_of_its_own() {
    let fake = Fake::start([json(401, "{\"error\":\"WRONGPASS invalid or missing auth token\"}")]).await;
    let error = fake.client().get::<String>("k").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), ("auth", Some("WRONGPASS")));
    assert_eq!(fake.requests().len(), 1);
    let error = fake.client().pipeline([fake.client().incr("k")]).await.unwrap_err();
    assert_eq!(error.kind(), "auth");
}

#[tokio::test]
async fn pipelines_count_their_answers() {
    let fake = Fake::start([json(200, "[{\"result\":1}]")]).await;
    let client = fake.client();
    let error = client.pipeline((client.incr("a"), client.incr("b"))).await.unwrap_err();
    assert!(error.to_string().contains("1 answers to 2 commands"), "{error}");
    let none: Vec<dormouse_client::Result<i64>> =
        client.pipeline(Vec::<dormouse_client::Command<i64>>::new()).await.unwrap();
    assert!(none.is_empty() && fake.requests().len() == 1, "nothing is not sent");
}

#[tokio::test]
async fn scripts_are_sent_whole_once() {
    let fake = Fake::start([json(400, "{\"error\":\"NOSCRIPT No matching script. Please use EVAL.\"}")]).await;
    let error = dormouse_client::Script::new("return 1").call().run::<i64>(&fake.client()).await.unwrap_err();
    assert_eq!(error.code(), Some("NOSCRIPT"));
    let requests = fake.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[0].contains("[\"EVALSHA\"") && requests[1].contains("[\"EVAL\",\"return 1\",\"0\"]"));
}

#[tokio::test]
async fn the_sync_token_goes_back() {
    let reply = |token| answer(200, &format!("Upstash-Sync-Token: {token}\r\n"), "{\"result\":1}");
    let fake = Fake::start([reply("one"), json(200, "{\"result\":1}"), reply("two")]).await;
    let client = fake.client();
    for _ in 0..4 {
        client.get::<i64>("k").await.unwrap();
    }
    let sent: Vec<_> = fake
        .requests()
        .iter()
        .map(|text| text.lines().find_map(|line| line.strip_prefix("upstash-sync-token: ")).map(str::to_owned))
        .collect();
    assert_eq!(sent, [None, Some("one".to_owned()), Some("one".to_owned()), Some("two".to_owned())]);
    let plain = fake.builder().read_your_writes(false).build().unwrap();
    plain.get::<i64>("k").await.unwrap();
    plain.get::<i64>("k").await.unwrap();
    assert!(!fake.requests().last().unwrap().contains("sync-token"));
}

#[tokio::test]
async fn the_budget_bounds_retries() {
    let fake = Fake::start([json(503, "{\"error\":\"ERR in trouble\"}")]).await;
    let client = fake.client();
    for _ in 0..50 {
        assert!(client.get::<i64>("k").await.is_err());
    }
    assert_eq!(fake.requests().len(), 50 + 10);
}
