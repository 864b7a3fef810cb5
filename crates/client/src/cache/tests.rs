//! The cache against a real server: leases with random interleavings, stampedes, invalidations in between, outages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::sync::Notify;

use super::decide::Spans;
use super::store::Found as Seen;
use super::*;
use crate::{TestServer, rt};

const MINUTE: Duration = Duration::from_mins(1);

type Loads = Arc<AtomicU64>;

/// A loader that counts.
fn counted(
    loads: &Loads,
    value: Option<u64>,
) -> impl FnOnce() -> rt::BoxFuture<'static, Result<Option<u64>, std::io::Error>> + use<> {
    let loads = Arc::clone(loads);
    move || {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            loads.fetch_add(1, Ordering::SeqCst);
            Ok(value)
        })
    }
}

fn failing(loads: &Loads) -> impl FnOnce() -> rt::BoxFuture<'static, Result<Option<u64>, std::io::Error>> + use<> {
    let loads = Arc::clone(loads);
    move || {
        Box::pin(async move {
            loads.fetch_add(1, Ordering::SeqCst);
            Err(std::io::Error::other("the database is down"))
        })
    }
}

fn exact(fresh: Duration) -> Policy {
    Policy::new(fresh).jitter(0.0).beta(0.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_miss_one_loads() {
    let server = TestServer::start().expect("a server");
    let loads = Loads::default();
    let mut tasks = Vec::new();
    for _ in 0..4 {
        // Each is a process of its own: nothing but the store in common.
        let cache = Cache::new(&server.client(), "c", exact(MINUTE));
        for _ in 0..5 {
            let (cache, load) = (cache.clone(), counted(&loads, Some(7)));
            tasks.push(tokio::spawn(async move { cache.get("k", load).await }));
        }
    }
    for task in tasks {
        assert_eq!(task.await.expect("no panic").expect("a value"), Some(7));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_invalidation_wins_over_what_is_being_loaded() {
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let cache = Cache::new(&client, "c", exact(MINUTE));
    for by_tag in [false, true] {
        let (reached, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (slow, at, on) = (cache.clone(), Arc::clone(&reached), Arc::clone(&go));
        let old = tokio::spawn(async move {
            let load = move || async move {
                at.notify_one();
                on.notified().await;
                Ok::<_, std::io::Error>(Some(1_u64))
            };
            slow.entry("k").tags(["t"]).get(load).await
        });
        reached.notified().await;
        // Another process invalidates: this one's single flight knows nothing of it.
        let other = Cache::new(&client, "c", exact(MINUTE));
        if by_tag { other.invalidate_tag("t").await } else { other.invalidate("k").await }.expect("the server answers");
        go.notify_one();
        let old = old.await.expect("no panic").expect("a value");
        assert_eq!((old.value, old.source), (Some(1), Source::NotKept));
        assert_eq!(cache.entry("k").tags(["t"]).peek::<u64>().await.expect("answers"), None);
        let new = cache.entry("k").tags(["t"]).get(counted(&Loads::default(), Some(2))).await.expect("a value");
        assert_eq!((new.value, new.source), (Some(2), Source::Loaded));
        other.invalidate("k").await.expect("the server answers");
    }
}

#[tokio::test]
async fn nothing_is_remembered_for_its_own_time() {
    let server = TestServer::start().expect("a server");
    let (loads, client) = (Loads::default(), server.client());
    let cache = Cache::new(&client, "c", exact(MINUTE).negative(Duration::from_millis(150)));
    for source in [Source::Loaded, Source::Fresh] {
        let found = cache.entry("k").get(counted(&loads, None)).await.expect("an answer");
        assert_eq!((found.value, found.source), (None, source));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(cache.get("k", counted(&loads, Some(3))).await.expect("an answer"), Some(3));
    let forgetful = Cache::new(&client, "d", exact(MINUTE));
    for _ in 0..2 {
        let found = forgetful.entry("k").get(counted(&loads, None)).await.expect("an answer");
        assert_eq!(found.source, Source::NotKept);
    }
}

#[tokio::test]
async fn what_is_stale_is_served_while_one_of_the_fleet_loads() {
    let server = TestServer::start().expect("a server");
    let loads = Loads::default();
    let policy = exact(Duration::from_millis(50)).stale_while_revalidate(MINUTE);
    let fleet: Vec<_> = (0..4).map(|_| Cache::new(&server.client(), "c", policy.clone())).collect();
    fleet[0].put("k", &1_u64).await.expect("answers");
    tokio::time::sleep(Duration::from_millis(80)).await;
    for _ in 0..3 {
        for cache in &fleet {
            let found = cache.entry("k").policy(exact(MINUTE)).get(counted(&loads, Some(2))).await.expect("a value");
            assert!(
                matches!((found.value, found.source), (Some(1), Source::Stale) | (Some(2), Source::Fresh)),
                "{found:?}"
            );
        }
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(fleet[1].entry("k").get(counted(&loads, Some(3))).await.expect("a value").value, Some(2));
    assert_eq!(loads.load(Ordering::SeqCst), 1, "one refreshes");
}

#[tokio::test]
async fn what_is_stale_is_served_when_loading_fails_and_nobody_tries_for_a_while() {
    let server = TestServer::start().expect("a server");
    let loads = Loads::default();
    let policy = exact(Duration::from_millis(20)).stale_if_error(Duration::from_millis(600)).pause(MINUTE);
    let fleet: Vec<_> = (0..3).map(|_| Cache::new(&server.client(), "c", policy.clone())).collect();
    fleet[0].put("k", &1_u64).await.expect("answers");
    tokio::time::sleep(Duration::from_millis(50)).await;
    for cache in &fleet {
        let found = cache.entry("k").get(failing(&loads)).await.expect("the stale value");
        assert_eq!((found.value, found.source), (Some(1), Source::Stale));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 1, "the others do not try for a while");
    tokio::time::sleep(Duration::from_millis(650)).await;
    // Past its window nothing is served; the pause is over for who has nothing, since waiting for it would be an outage.
    let quick = exact(MINUTE).wait(Duration::ZERO);
    let error = fleet[1].entry("k").policy(quick).get(failing(&loads)).await.expect_err("there is nothing to serve");
    assert!(error.to_string().contains("the database is down"), "{error}");
}

#[tokio::test]
async fn an_error_is_told_to_all_and_kept_by_nobody() {
    let server = TestServer::start().expect("a server");
    let (loads, cache) = (Loads::default(), Cache::new(&server.client(), "c", exact(MINUTE)));
    let (one, two) = tokio::join!(cache.get("k", failing(&loads)), cache.get("k", failing(&loads)));
    assert!(matches!((one, two), (Err(CacheError::Load(_)), Err(CacheError::Load(_)))));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    assert_eq!(cache.get("k", counted(&loads, Some(1))).await.expect("a value"), Some(1));
}

#[tokio::test]
async fn without_the_store_values_are_loaded() {
    let nobody = Client::new("http://127.0.0.1:1", "token").expect("a client");
    let (loads, cache) = (Loads::default(), Cache::new(&nobody, "c", exact(MINUTE)));
    for _ in 0..2 {
        let found = cache.entry("k").get(counted(&loads, Some(5))).await.expect("a value");
        assert_eq!((found.value, found.source), (Some(5), Source::NotKept));
    }
    let all: Vec<_> = (0..5).map(|_| cache.get("k", counted(&loads, Some(6)))).collect();
    for found in futures_util::future::join_all(all).await {
        assert_eq!(found.expect("a value"), Some(6));
    }
    assert_eq!(loads.load(Ordering::SeqCst), 3, "also then one loads");
    assert!(cache.invalidate("k").await.is_err(), "what may not have happened is an error");
}

#[tokio::test]
async fn what_cannot_be_read_is_loaded_anew() {
    let server = TestServer::start().expect("a server");
    let (loads, client) = (Loads::default(), server.client());
    let cache = Cache::new(&client, "c", exact(MINUTE));
    cache.put("k", &"text").await.expect("answers");
    assert_eq!(cache.get("k", counted(&loads, Some(9))).await.expect("a value"), Some(9));
    client.hset("c:e:k", [("meta", "of another kind")]).await.expect("answers");
    assert_eq!(cache.get("k", counted(&loads, Some(10))).await.expect("a value"), Some(10));
    let packed = cache.clone().codec(Compressed::new(MessagePack));
    assert_eq!(packed.get("k", counted(&loads, Some(11))).await.expect("a value"), Some(11));
    assert_eq!(packed.peek::<u64>("k").await.expect("answers"), Some(11));
    assert_eq!(loads.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn who_is_dropped_while_loading_gives_the_lease_back() {
    let server = TestServer::start().expect("a server");
    let cache = Cache::new(&server.client(), "c", exact(MINUTE).lease(MINUTE).wait(MINUTE));
    let never = || std::future::pending::<Result<Option<u64>, std::io::Error>>();
    assert!(tokio::time::timeout(Duration::from_millis(100), cache.get("k", never)).await.is_err());
    let other = Cache::new(&server.client(), "c", exact(MINUTE).lease(MINUTE).wait(MINUTE));
    let load = counted(&Loads::default(), Some(1));
    let found = tokio::time::timeout(Duration::from_secs(20), other.entry("k").get(load)).await;
    assert_eq!(found.expect("in time").expect("a value").source, Source::Loaded);
}

/// One step of somebody: three workers, one source of values.
#[derive(Clone, Copy, Debug)]
enum Step {
    Take(usize),
    Load(usize),
    Fill(usize),
    Write { by_tag: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Step::Take),
        3 => (0..3_usize).prop_map(Step::Load),
        3 => (0..3_usize).prop_map(Step::Fill),
        2 => any::<bool>().prop_map(|by_tag| Step::Write { by_tag }),
    ]
}

#[derive(Default)]
struct Worker {
    lease: Option<(String, bytes::Bytes)>,
    loaded: Option<u64>,
}

/// Whatever the order: what the store serves is never older than the last invalidation.
#[test]
fn no_interleaving_serves_what_was_invalidated() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let spans = Spans { fresh: 60_000, stale: 0, error: 0, delta: 0, nothing: false };
    let round = AtomicU64::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48));
    let outcome = runner.run(&prop::collection::vec(step(), 1..40), |steps| {
        let round = round.fetch_add(1, Ordering::SeqCst);
        let cache = Cache::new(&client, format!("c{round}"), exact(MINUTE));
        let (names, store) = (cache.names("k", &["t".to_owned()]), &cache.core.store);
        runtime.block_on(async {
            let (mut source, mut workers) = (0_u64, [(); 3].map(|()| Worker::default()));
            for step in steps {
                match step {
                    Step::Take(who) => {
                        let token = rt::random_token();
                        let look = store.take(&names, &token, MINUTE, "").await.expect("answers");
                        if let Seen::Lease = look.found {
                            workers[who] = Worker { lease: Some((token, look.tags)), loaded: None };
                        }
                    }
                    Step::Load(who) => workers[who].loaded = workers[who].lease.is_some().then_some(source),
                    Step::Fill(who) => {
                        let Worker { lease: Some((token, tags)), loaded: Some(value) } = &workers[who] else {
                            continue;
                        };
                        store.fill(&names, token, tags, value.to_string().as_bytes(), spans).await.expect("answers");
                        workers[who] = Worker::default();
                    }
                    Step::Write { by_tag } => {
                        source += 1;
                        let done = if by_tag { cache.invalidate_tag("t").await } else { cache.invalidate("k").await };
                        done.expect("answers");
                    }
                }
                let kept = cache.entry("k").tags(["t"]).peek::<u64>().await.expect("answers");
                prop_assert!(kept.is_none_or(|kept| kept == source), "{kept:?} is kept where {source} is right");
            }
            Ok(())
        })
    });
    drop(runtime);
    outcome.expect("no interleaving does");
}
