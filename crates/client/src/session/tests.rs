//! Sessions against a real server, with interleavings that would lose updates or bring ended sessions back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::TestServer;

#[tokio::test]
async fn both_timeouts_hold() {
    let server = TestServer::start().expect("a server");
    let sessions = Sessions::new(&server.client(), "s");
    let sessions = sessions.idle(Duration::from_millis(400)).absolute(Duration::from_secs(1));
    let (used, unused) =
        (sessions.create(None, 1).await.expect("answers"), sessions.create(None, 2).await.expect("answers"));
    let began = std::time::Instant::now();
    let mut lived = Duration::ZERO;
    while let Some(found) = sessions.load::<i32>(used.id()).await.expect("answers") {
        assert_eq!((found.data, found.ends_ms), (1, used.ends_ms));
        lived = began.elapsed();
        assert!(lived < Duration::from_millis(1_100), "the absolute timeout has passed");
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(lived > Duration::from_millis(500), "use keeps it");
    assert!(sessions.load::<i32>(unused.id()).await.expect("answers").is_none());
}

#[tokio::test]
async fn nothing_that_is_stored_lets_anybody_in() {
    let server = TestServer::start().expect("a server");
    let client = server.client();
    let sessions = Sessions::new(&client, "s");
    let session = sessions.create(Some("ada"), "data").await.expect("answers");
    let secret = session.id().secret();
    for key in client.keys::<String>("*").await.expect("answers") {
        assert!(!key.contains(&secret));
        let bytes = client.dump(&key).await.expect("answers").expect("it is there");
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        assert!(client.ttl(&key).await.expect("answers") != crate::Ttl::Persistent, "every key has a deadline");
    }
    assert!(SessionId::read(&session.id().handle()).is_none(), "what is stored is no id");
    assert!(sessions.load::<String>(&SessionId::random()).await.expect("answers").is_none());
}

#[tokio::test]
async fn a_user_has_all_sessions_ended_but_one() {
    let server = TestServer::start().expect("a server");
    let sessions = Sessions::new(&server.client(), "s");
    let mut all = Vec::new();
    for at in 0..5 {
        all.push(sessions.create(Some("ada"), at).await.expect("answers"));
    }
    let eve = sessions.create(Some("eve"), 0).await.expect("answers");
    assert!(sessions.destroy(all[4].id()).await.expect("answers"));
    assert_eq!(sessions.list("ada").await.expect("answers").len(), 4);
    let kept = sessions.rotate(all[0].clone()).await.expect("answers");
    assert_eq!(sessions.revoke_all("ada", Some(kept.id())).await.expect("answers"), 3);
    let listed = sessions.list("ada").await.expect("answers");
    assert_eq!((listed.len(), &listed[0].handle), (1, &kept.id().handle()));
    assert!(matches!(sessions.save(&mut all[1]).await, Err(SessionError::Gone)), "it does not come back");
    assert!(matches!(sessions.rotate(all[2].clone()).await, Err(SessionError::Gone)));
    assert!(sessions.load::<i32>(eve.id()).await.expect("answers").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost() {
    let server = TestServer::start().expect("a server");
    let sessions = Sessions::new(&server.client(), "s");
    let id = sessions.create(None, 0_u64).await.expect("answers").id().clone();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (sessions, id) = (sessions.clone(), id.clone());
            tokio::spawn(async move {
                let mut made = 0;
                for _ in 0..5 {
                    match sessions.update(&id, |count: &mut u64| *count += 1).await {
                        Ok(_) => made += 1,
                        Err(SessionError::Changed) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                made
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += task.await.expect("no panic");
    }
    let found = sessions.load::<u64>(&id).await.expect("answers").expect("it is there");
    assert!(made > 0 && found.data == made, "{} of {made}", found.data);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Load(usize),
    Save(usize),
    Rotate(usize),
    Login(usize),
    Revoke,
}

/// Three requests at work on one session, in any order: the model is the value, its version and its id.
#[test]
fn the_last_save_counts_whatever_the_order() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = TestServer::start().expect("a server");
    let (client, round) = (server.client(), AtomicU64::new(0));
    let step = prop_oneof![
        4 => (0..3_usize).prop_map(Step::Load),
        4 => (0..3_usize).prop_map(Step::Save),
        1 => (0..3_usize).prop_map(Step::Rotate),
        1 => (0..3_usize).prop_map(Step::Login),
        1 => Just(Step::Revoke),
    ];
    let mut runner = TestRunner::new(ProptestConfig::with_cases(40));
    let outcome = runner.run(&prop::collection::vec(step, 1..40), |steps| {
        let sessions = Sessions::new(&client, format!("s{}", round.fetch_add(1, Ordering::SeqCst)));
        runtime.block_on(async {
            let first = sessions.create(Some("ada"), 0_u64).await.expect("answers");
            let mut current = Some((first.id().clone(), first.version, 0_u64));
            let mut held = [first.clone(), first.clone(), first];
            let mut count = 0;
            for step in steps {
                count += 1;
                match step {
                    Step::Load(who) => {
                        let found = sessions.load::<u64>(held[who].id()).await.expect("answers");
                        let expected = current.as_ref().filter(|(id, ..)| id == held[who].id());
                        prop_assert_eq!(found.as_ref().map(|found| (found.version, found.data)), expected.map(|one| (one.1, one.2)));
                        held[who] = found.unwrap_or_else(|| held[who].clone());
                    }
                    Step::Save(who) => {
                        held[who].data = count;
                        let fits = matches!(&current, Some((id, version, _)) if id == held[who].id() && *version == held[who].version);
                        let saved = sessions.save(&mut held[who]).await;
                        prop_assert_eq!(saved.is_ok(), fits);
                        if fits {
                            current = Some((held[who].id().clone(), held[who].version, count));
                        }
                    }
                    Step::Rotate(who) | Step::Login(who) => {
                        let fits = matches!(&current, Some((id, version, _)) if id == held[who].id() && *version == held[who].version);
                        let moved = match step {
                            Step::Login(_) => sessions.login(held[who].clone(), "ada").await,
                            _ => sessions.rotate(held[who].clone()).await,
                        };
                        prop_assert_eq!(moved.is_ok(), fits);
                        if let Ok(moved) = moved {
                            current = Some((moved.id().clone(), moved.version, moved.data));
                            held[who] = moved;
                        }
                    }
                    Step::Revoke => {
                        let ended = sessions.revoke_all("ada", None).await.expect("answers");
                        prop_assert_eq!(ended, u64::from(current.take().is_some()));
                    }
                }
            }
            Ok(())
        })
    });
    drop(runtime);
    outcome.expect("the model agrees");
}
