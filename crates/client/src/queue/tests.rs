//! Queues against a real server: workers that crash, that are slow, and that come in great number.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::TestServer;

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_a_crashed_worker_took_is_taken_again() {
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let queue = |name: &str| Queue::new(&client, name).left_alone(SHORT);
    let (crashes, lives) = (queue("q"), queue("q"));
    crashes.push(&"one").await.expect("answers");
    let lost = crashes.take::<String>(1).await.expect("answers").pop().expect("a job");
    assert!(lives.take::<String>(1).await.expect("answers").is_empty(), "it is left alone");
    let again = lives.next::<String>(LONG).await.expect("answers").expect("it is taken over");
    assert_eq!((again.id(), again.attempt(), again.payload.as_deref()), (lost.id(), 2, Ok("one")));
    // The first wakes up: what it says does not count any more.
    assert!(!lost.keep().await.expect("answers") && !lost.done().await.expect("answers"));
    assert_eq!(lives.len().await.expect("answers"), 1);
    assert!(again.done().await.expect("answers"));
    assert_eq!(lives.len().await.expect("answers"), 0);
}

#[tokio::test]
async fn what_fails_is_tried_again_and_then_buried() {
    let server = TestServer::start().expect("a server");
    let queue = Queue::new(&server.client(), "q").left_alone(LONG).attempts(3).pause(Duration::from_millis(40));
    queue.push(&7).await.expect("answers");
    for attempt in 1..=3 {
        let job = queue.next::<u64>(LONG).await.expect("answers").expect("a job");
        assert_eq!(job.attempt(), attempt);
        assert!(job.failed(&format!("failure {attempt}")).await.expect("answers"));
        assert!(queue.take::<u64>(1).await.expect("answers").is_empty(), "not at once");
    }
    assert_eq!(queue.dead::<u64>(10).await.expect("answers"), [(7, "failure 3".to_owned())]);
    assert_eq!(queue.len().await.expect("answers"), 0);
    // Who crashes each time is buried as well.
    let fatal = Queue::new(&server.client(), "fatal").left_alone(Duration::from_millis(30)).attempts(2);
    fatal.push(&1).await.expect("answers");
    for _ in 0..2 {
        drop(fatal.next::<u64>(LONG).await.expect("answers").expect("a job"));
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(fatal.take::<u64>(1).await.expect("answers").is_empty());
    assert_eq!(fatal.dead::<u64>(10).await.expect("answers"), [(1, "not finished in time".to_owned())]);
}

#[tokio::test]
async fn who_works_long_says_so() {
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let (slow, other) =
        (Queue::new(&client, "q").left_alone(SHORT * 2), Queue::new(&client, "q").left_alone(SHORT * 2));
    slow.push(&1).await.expect("answers");
    let job = slow.take::<u64>(1).await.expect("answers").pop().expect("a job");
    for _ in 0..4 {
        tokio::time::sleep(SHORT).await;
        assert!(job.keep().await.expect("answers"));
        assert!(other.take::<u64>(1).await.expect("answers").is_empty());
    }
    assert!(job.done().await.expect("answers"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_job_is_done_once_when_nobody_crashes() {
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let queue = Queue::new(&client, "q").left_alone(LONG);
    for at in 0..200_u64 {
        queue.push(&at).await.expect("answers");
    }
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let queue = Queue::new(&server.client(), "q").left_alone(LONG);
            tokio::spawn(async move {
                let mut done = Vec::new();
                loop {
                    let jobs = queue.take::<u64>(5).await.expect("answers");
                    if jobs.is_empty() {
                        return done;
                    }
                    for job in jobs {
                        done.push(*job.payload.as_ref().expect("a number"));
                        assert!(job.done().await.expect("answers"));
                    }
                }
            })
        })
        .collect();
    let mut times = BTreeMap::new();
    for worker in workers {
        for at in worker.await.expect("no panic") {
            *times.entry(at).or_insert(0) += 1;
        }
    }
    assert_eq!((times.len(), times.values().max()), (200, Some(&1)));
    assert_eq!(queue.len().await.expect("answers"), 0);
}
