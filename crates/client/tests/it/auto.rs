//! Automatic pipelines: fewer requests, and the same answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dormouse_client::transport::{Reqwest, Transport};
use dormouse_client::{AutoPipeline, Client, TestServer};
use futures_util::StreamExt;
use futures_util::future::join_all;

/// A client whose requests are counted.
fn counted(server: &TestServer) -> (Client, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let (seen, http) = (Arc::clone(&requests), Reqwest::standard().unwrap());
    let transport = move |request: http::Request<Bytes>| {
        seen.fetch_add(1, Ordering::Relaxed);
        http.send(request)
    };
    let client = Client::builder(server.url(), server.token()).transport(transport).build().unwrap();
    (client, requests)
}

#[tokio::test]
async fn calls_at_the_same_time_share_requests() {
    let server = TestServer::start().unwrap();
    let (client, requests) = counted(&server);
    let auto = client.auto_pipeline();
    join_all((0..300).map(|at| auto.set(format!("k{at}"), at).send())).await.into_iter().for_each(|done| done.unwrap());
    assert_eq!(requests.swap(0, Ordering::Relaxed), 1);
    let all = join_all((0..300).map(|at| auto.get::<i64>(format!("k{at}")).send())).await;
    assert!(all.into_iter().enumerate().all(|(at, found)| found.unwrap() == Some(at as i64)));
    assert_eq!(requests.swap(0, Ordering::Relaxed), 1);
    // One after the other there is nothing to gather, and order is kept.
    auto.set("n", 1).await.unwrap();
    assert_eq!(auto.incr("n").await.unwrap(), 2);
    assert_eq!(requests.swap(0, Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_share_requests() {
    let server = TestServer::start().unwrap();
    let (client, requests) = counted(&server);
    let auto = client.auto_pipeline_with(AutoPipeline::default().requests_max(2));
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let auto = auto.clone();
            tokio::spawn(async move { auto.incr("n").await.unwrap() })
        })
        .collect();
    let mut seen: Vec<i64> = join_all(tasks).await.into_iter().map(Result::unwrap).collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=1_000).collect::<Vec<_>>());
    let requests = requests.load(Ordering::Relaxed);
    assert!(requests <= 250, "{requests} requests");
}

#[tokio::test]
async fn batches_have_limits_and_errors_are_each_ones_own() {
    let server = TestServer::start().unwrap();
    let (client, requests) = counted(&server);
    let auto = client.auto_pipeline_with(AutoPipeline::default().commands_max(10).bytes_max(1_000));
    join_all((0..25).map(|_| auto.incr("n").send())).await;
    assert_eq!(requests.swap(0, Ordering::Relaxed), 3);
    join_all((0..4).map(|_| auto.append("text", "x".repeat(600)).send())).await;
    assert_eq!(requests.swap(0, Ordering::Relaxed), 4);
    let (wrong, right) = tokio::join!(auto.lpush("n", 1).send(), auto.incr("n").send());
    assert_eq!((wrong.unwrap_err().code(), right.unwrap()), (Some("WRONGTYPE"), 26));
    // What has options of its own goes by itself.
    requests.store(0, Ordering::Relaxed);
    let by_itself = auto.incr("n").timeout(Duration::from_secs(1));
    tokio::join!(by_itself.send(), auto.incr("n").send()).0.unwrap();
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn whoever_goes_away_takes_the_command_along() {
    let server = TestServer::start().unwrap();
    let (client, requests) = counted(&server);
    let auto = client.auto_pipeline();
    let mut gone = auto.set("gone", 1).send();
    assert!(futures_util::poll!(&mut gone).is_pending());
    drop(gone);
    auto.set("here", 1).await.unwrap();
    assert_eq!(client.exists(["gone", "here"]).await.unwrap(), 1);
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_caller_that_is_not_polled_holds_nobody_up() {
    let server = TestServer::start().unwrap();
    let auto = server.client().auto_pipeline_with(AutoPipeline::default().requests_max(1));
    let reading = futures_util::stream::iter(0..20).map(|at| {
        let auto = auto.clone();
        async move { auto.get::<i64>(format!("k{at}")).await.unwrap() }
    });
    let work = reading.buffered(5).for_each(|_| async { auto.incr("n").await.map(drop).unwrap() });
    tokio::time::timeout(Duration::from_secs(20), work).await.unwrap();
    assert_eq!(auto.get::<i64>("n").await.unwrap(), Some(20));
}

#[test]
fn a_runtime_that_ends_leaves_no_batch_behind() {
    let server = TestServer::start().unwrap();
    let auto = server.client().auto_pipeline();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(async {
        let mut gone = auto.incr("n").send();
        assert!(futures_util::poll!(&mut gone).is_pending());
    });
    drop(first);
    assert_eq!(runtime().block_on(async { auto.incr("n").await }).unwrap(), 1);
}
