//! Locks against a real server.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::TestServer;

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_one_has_it() {
    let server = TestServer::start().expect("a server");
    let (holders, last) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    let tasks: Vec<_> = (0..200)
        .map(|at: usize| {
            let client = clients[at % 10].clone();
            let lock = Lock::new(&client, "l");
            let (holders, last) = (Arc::clone(&holders), Arc::clone(&last));
            tokio::spawn(async move {
                let Ok(guard) = lock.acquire(Duration::from_millis(1_500)).await else { return 0 };
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two have the lock");
                assert!(last.fetch_max(guard.fence(), Ordering::SeqCst) < guard.fence(), "a fence that does not grow");
                let written = guard.run(fenced_set(&client, "v", guard.fence(), guard.fence())).await;
                assert!(written.expect("the lock is held").expect("answers"));
                holders.fetch_sub(1, Ordering::SeqCst);
                guard.release().await.expect("answers");
                1
            })
        })
        .collect();
    let mut held = 0;
    for task in tasks {
        held += task.await.expect("no panic");
    }
    assert!(held >= 20, "{held} of 200 had it");
    assert_eq!(last.load(Ordering::SeqCst), held, "a fence for each holder");
}

#[tokio::test]
async fn it_is_renewed_while_it_is_held_and_ends_with_its_holder() {
    let server = TestServer::start().expect("a server");
    let lock = Lock::new(&server.client(), "l").lease(Duration::from_millis(300));
    let guard = lock.try_acquire().await.expect("answers").expect("free");
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(guard.is_valid() && lock.try_acquire().await.expect("answers").is_none());
    drop(guard);
    let next = tokio::time::timeout(LONG, lock.acquire(LONG)).await.expect("in time").expect("free");
    assert_eq!(next.fence(), 2);
    // A holder that is gone without a word: its deadline ends it.
    std::mem::forget(server.client().set("lock:m", "gone").await);
    server.client().expire("lock:m", Duration::from_millis(200)).await.expect("answers");
    assert!(Lock::new(&server.client(), "m").acquire(LONG).await.is_ok());
}

#[tokio::test]
async fn only_its_owner_gives_it_back() {
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let lock = Lock::new(&client, "l").lease(Duration::from_millis(200));
    let guard = lock.try_acquire().await.expect("answers").expect("free");
    client.set("lock:l", "another's").await.expect("answers");
    let lost = tokio::time::timeout(LONG, guard.run(std::future::pending::<()>())).await.expect("in time");
    assert!(matches!(lost, Err(LockError::Lost)));
    assert!(!guard.release().await.expect("answers"));
    assert_eq!(client.get::<String>("lock:l").await.expect("answers").as_deref(), Some("another's"));
}

#[tokio::test]
async fn an_attempt_whose_answer_was_lost_is_the_same_attempt() {
    let server = TestServer::start().expect("a server");
    let lock = Lock::new(&server.client(), "l");
    let first = lock.attempt("token").await.expect("answers").expect("free");
    let again = lock.attempt("token").await.expect("answers").expect("its own");
    assert_eq!((first.fence(), again.fence()), (1, 1));
    let held_for = lock.attempt("another").await.expect("answers").expect_err("held");
    assert!(held_for > Duration::from_secs(5));
}

#[tokio::test]
async fn without_the_store_it_is_lost_before_its_lease_ends() {
    let server = TestServer::start().expect("a server");
    let lock = Lock::new(&server.client(), "l").lease(Duration::from_millis(400));
    let guard = lock.try_acquire().await.expect("answers").expect("free");
    let began = rt::Instant::now();
    drop(server);
    let lost = tokio::time::timeout(LONG, guard.run(std::future::pending::<()>())).await.expect("in time");
    assert!(matches!(lost, Err(LockError::Lost)));
    assert!(began.elapsed() < Duration::from_secs(2) && !guard.is_valid());
}
