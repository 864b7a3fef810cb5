//! Limits against a real server: the scripts say what the functions say, whatever the history; and they hold when many come at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::decide::{State, decide, tests as given};
use super::*;
use crate::TestServer;

const NOW: u64 = 1_700_000_000_000_000;
const HOUR: Duration = Duration::from_hours(1);

/// Deadlines are the server's, and this history is long past: only windows that are never looked at again may have gone.
#[test]
fn the_scripts_decide_as_the_functions_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let round = AtomicU64::new(0);
    // Windows longer than this test takes, so that no key expires under a clock of its own.
    let rule = given::rule().prop_map(|rule| Rule { window: rule.window * 60_000, ..rule });
    let history = given::history()
        .prop_map(|all| all.into_iter().map(|(pause, cost)| (pause * 30_000, cost)).collect::<Vec<_>>());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(60));
    let outcome = runner.run(&(rule, history), |(rule, history)| {
        let limiter = Limiter::new(&client, format!("l{}", round.fetch_add(1, Ordering::SeqCst)), rule);
        runtime.block_on(async {
            let (mut state, mut now) = (State::New, NOW);
            for (pause, cost) in history {
                now += pause;
                let peek = limiter.ask("k", 0, true, Some(now), &[]).await.expect("answers");
                let mut untouched = state;
                let free = decide(&rule, &mut untouched, now, 1);
                prop_assert_eq!(peek.allowed, free.allowed, "a look");
                let expected = decide(&rule, &mut state, now, cost);
                let found = limiter.ask("k", cost, false, Some(now), &[]).await.expect("answers");
                prop_assert_eq!((found.allowed, found.limit as i64), (expected.allowed, expected.limit));
                prop_assert_eq!((found.remaining as i64, found.reset_ms), (expected.remaining, expected.reset));
                if let Some(retry) = found.retry_after {
                    prop_assert_eq!(retry, Duration::from_micros(expected.retry));
                }
            }
            Ok(())
        })
    });
    drop(runtime);
    outcome.expect("they agree");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_never_exceed_a_limit() {
    let server = TestServer::start().expect("a server");
    let rules = [
        (Rule::fixed_window(50, HOUR * 24 * 365), 50),
        (Rule::sliding_window(50, HOUR * 24 * 365), 50),
        (Rule::token_bucket(1, HOUR, 50), 50),
        (Rule::gcra(50, HOUR * 24, 50), 50),
    ];
    for (at, (rule, expected)) in rules.into_iter().enumerate() {
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let limiter = Limiter::new(&server.client(), format!("l{at}"), rule);
                tokio::spawn(async move {
                    let mut passed = 0;
                    for _ in 0..25 {
                        passed += u32::from(limiter.check("k").await.expect("answers").allowed);
                    }
                    passed
                })
            })
            .collect();
        let mut passed = 0;
        for task in tasks {
            passed += task.await.expect("no panic");
        }
        assert_eq!(passed, expected, "{rule:?}");
    }
}

#[tokio::test]
async fn keys_are_those_of_the_other_client() {
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let limiter = Limiter::new(&client, "@upstash/ratelimit", Rule::sliding_window(10, HOUR));
    let decision = limiter.ask("ada", 1, false, Some(NOW), &[]).await.expect("answers");
    let bucket = NOW / 1000 / 3_600_000;
    let key = format!("@upstash/ratelimit:ada:{bucket}");
    assert_eq!(client.get::<i64>(&key).await.expect("answers"), Some(1));
    assert_eq!(decision.reset_ms, (bucket + 1) * 3_600_000);
    let crate::Ttl::In(ttl) = client.ttl(&key).await.expect("answers") else { panic!("no deadline") };
    assert!(ttl <= 2 * HOUR + Duration::from_secs(1) && ttl + Duration::from_mins(1) > 2 * HOUR);
    // What the other has counted counts here.
    client.incrby(&key, 8).await.expect("answers");
    client.set(format!("@upstash/ratelimit:ada:{}", bucket - 1), 7).await.expect("answers");
    let weight = (7.0 * (1.0 - (NOW / 1000 % 3_600_000) as f64 / 3_600_000.0)).floor() as u64;
    let found = limiter.ask("ada", 0, true, Some(NOW), &[]).await.expect("answers");
    assert_eq!(found.remaining, 1_u64.saturating_sub(weight));
    let bucket = Limiter::new(&client, "@upstash/ratelimit", Rule::token_bucket(5, HOUR, 10));
    bucket.ask("bob", 3, false, Some(NOW), &[]).await.expect("answers");
    let kept: Vec<Option<u64>> =
        client.hmget("@upstash/ratelimit:bob", ["refilledAt", "tokens"]).await.expect("answers");
    assert_eq!(kept, [Some(NOW / 1000), Some(7)]);
}

#[tokio::test]
async fn a_store_that_is_down_is_met_as_was_said() {
    let nobody = Client::new("http://127.0.0.1:1", "token").expect("a client");
    let limiter = |policy| Limiter::new(&nobody, "l", Rule::fixed_window(5, HOUR)).on_failure(policy);
    let allowed = limiter(OnFailure::Allow).check("k").await.expect("a decision");
    assert_eq!((allowed.status(), allowed.reason, allowed.limit), (200, Reason::StoreDown, 0));
    let denied = limiter(OnFailure::Deny).check("k").await.expect("a decision");
    assert_eq!((denied.status(), denied.headers()), (503, vec![("Retry-After", "1".to_owned())]));
    let local = limiter(OnFailure::Local(Rule::fixed_window(2, HOUR)));
    let statuses = [local.check("k").await, local.check("k").await, local.check("k").await, local.check("other").await];
    assert_eq!(statuses.map(|decision| decision.expect("a decision").status()), [200, 200, 503, 200]);
    assert!(local.peek("k").await.is_err(), "a look has nothing to fall back on");
}

#[tokio::test]
async fn dynamic_limits_and_what_can_never_pass() {
    let server = TestServer::start().expect("a server");
    let client = server.client();
    for rule in [
        Rule::fixed_window(9, HOUR),
        Rule::sliding_window(9, HOUR),
        Rule::token_bucket(9, HOUR, 9),
        Rule::gcra(9, HOUR, 9),
    ] {
        let limiter = Limiter::new(&client, format!("{rule:?}"), rule).dynamic();
        client.set(limiter.dynamic_key(), "nonsense").await.expect("answers");
        assert_eq!(limiter.check("k").await.expect("answers").limit, 9);
        limiter.set_limit(Some(0)).await.expect("answers");
        let refused = limiter.check("other").await.expect("answers");
        assert_eq!((refused.allowed, refused.limit, refused.retry_after), (false, 0, None), "{rule:?}");
        assert!(!refused.headers().iter().any(|(name, _)| *name == "Retry-After"));
        limiter.forget("k").await.expect("answers");
        limiter.set_limit(None).await.expect("answers");
        assert_eq!(limiter.peek("k").await.expect("answers").remaining, 9);
    }
    assert_eq!(client.keys::<String>("*").await.expect("answers").iter().filter(|key| key.contains(":k")).count(), 0);
}
