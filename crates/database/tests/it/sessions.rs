//! Clients of one database: transactions, watches, waiting, and scripts that take long.

use std::cell::Cell;
use std::time::Duration;

use dormouse_database::{Session, Step, Unparked};
use dormouse_engine::Patient;
use dormouse_proto::Reply;

use crate::support::{Bed, Bites, error, sorted, texts, words};

#[test]
fn a_watched_key_that_changes_undoes_the_transaction() {
    let mut bed = Bed::new();
    let mut watcher = bed.talk();
    for (change, runs) in
        [("SET k other", false), ("DEL k", false), ("SET unrelated v", true), ("GET k", true), ("FLUSHDB", false)]
    {
        bed.run("SET k v");
        assert_eq!(watcher.run(&bed, "WATCH k"), Reply::OK);
        assert_eq!(watcher.run(&bed, "MULTI"), Reply::OK);
        assert_eq!(watcher.run(&bed, "SET done v"), Reply::status("QUEUED"));
        bed.run(change);
        let expected = if runs { Reply::Array(vec![Reply::OK]) } else { Reply::NullArray };
        assert_eq!(watcher.run(&bed, "EXEC"), expected, "{change}");
    }
}

#[test]
fn a_watched_key_may_leave_memory_and_may_not_die() {
    let mut bed = Bed::new();
    bed.run("SET k v PX 1000");
    let mut watcher = bed.talk();
    watcher.run(&bed, "WATCH k");
    bed.chill();
    watcher.run(&bed, "MULTI");
    assert_eq!(watcher.run(&bed, "EXEC"), Reply::Array(vec![]), "leaving memory is no change");
    watcher.run(&bed, "WATCH k");
    bed.pass_ms(1_000);
    watcher.run(&bed, "MULTI");
    assert_eq!(watcher.run(&bed, "EXEC"), Reply::NullArray, "its death is one");
}

/// The effects of one command, after those of a transaction that may still write, fit the log's largest record.
#[test]
fn what_limits_allow_the_log_takes() {
    let limits = dormouse_engine::Limits::default();
    // A value is written once at most, and an argument twice.
    let largest = limits.journal_bytes_max + 2 * limits.record_bytes_max;
    assert!(largest + (1 << 20) < dormouse_storage::LogOptions::default().record_bytes_max);
}

#[test]
fn a_transaction_that_is_taken_back_leaves_scripts_and_settings() {
    let mut bed = Bed::new();
    let mut talk = bed.talk();
    let database = talk.session.account().unwrap().database.clone();
    database.configure(|hub| hub.limits.replies_bytes_max = 1_000);
    bed.run(&format!("SET big {}", "x".repeat(2_000)));
    let Reply::Bulk(sha) = bed.run_args(&[b"SCRIPT", b"LOAD", b"return 1"]) else { panic!() };
    let sha = String::from_utf8(sha.to_vec()).unwrap();
    talk.run(&bed, "MULTI");
    for command in ["SCRIPT FLUSH", "CONFIG SET notify-keyspace-events KEA", "SET zz 1", "GET big", "PING"] {
        assert_eq!(talk.run(&bed, command), Reply::status("QUEUED"));
    }
    let error = error(&talk.run(&bed, "EXEC"));
    assert!(error.ends_with("No key was changed."), "{error}");
    assert_eq!(bed.run(&format!("EVALSHA {sha} 0")), Reply::Integer(1));
    let silent = Reply::Map(vec![(Reply::bulk("notify-keyspace-events"), Reply::bulk(""))]);
    assert_eq!(bed.run("CONFIG GET notify-keyspace-events"), silent);
    assert_eq!(bed.run("EXISTS zz"), Reply::Integer(0));
}

#[test]
fn burying_what_was_dead_already_is_no_change() {
    let mut bed = Bed::new();
    for (burial, cold) in
        [("reap", false), ("reap", true), ("SCAN 0", false), ("DEL k missing", false), ("FLUSHDB", true)]
    {
        bed.run("SET k v PX 1000");
        if cold {
            bed.chill();
        }
        bed.pass_ms(1_000);
        let mut watcher = bed.talk();
        watcher.run(&bed, "WATCH k missing");
        if burial == "reap" {
            bed.reap();
        } else {
            bed.run(burial);
        }
        watcher.run(&bed, "MULTI");
        assert_eq!(watcher.run(&bed, "EXEC"), Reply::Array(vec![]), "{burial}, cold: {cold}");
        watcher.run(&bed, "WATCH k");
        bed.run("SET k new");
        watcher.run(&bed, "MULTI");
        assert_eq!(watcher.run(&bed, "EXEC"), Reply::NullArray, "{burial}, cold: {cold}");
        bed.run("DEL k");
    }
}

#[test]
fn a_watched_cold_key_may_not_die_either() {
    let mut bed = Bed::new();
    for reaped in [false, true] {
        bed.run("SET k v PX 1000");
        let mut watcher = bed.talk();
        watcher.run(&bed, "WATCH k");
        bed.chill();
        bed.pass_ms(1_000);
        if reaped {
            bed.reap();
        }
        watcher.run(&bed, "MULTI");
        assert_eq!(watcher.run(&bed, "EXEC"), Reply::NullArray, "reaped: {reaped}");
    }
}

#[test]
fn a_transaction_is_all_or_nothing_after_a_crash() {
    let mut bed = Bed::new();
    for line in ["MULTI", "SET a 1", "RPUSH b 1", "INCR a", "LPUSH a 1", "EXEC"] {
        bed.run(line);
    }
    bed.crash();
    assert_eq!((bed.run("GET a"), bed.run("LLEN b")), (Reply::bulk("2"), Reply::Integer(1)));
    for line in ["MULTI", "SET a 9", "NOSUCH"] {
        bed.run(line);
    }
    assert!(error(&bed.run("EXEC")).starts_with("EXECABORT"));
    assert_eq!(bed.run("GET a"), Reply::bulk("2"));
}

#[test]
fn a_blocked_command_is_served_through_its_outbox() {
    let mut bed = Bed::new();
    let (mut first, mut second) = (bed.talk(), bed.talk());
    assert!(matches!(first.step(&bed, "BLPOP q other 0"), Step::Parked { timeout_ms: None, .. }));
    assert!(matches!(second.step(&bed, "BLPOP q 1.5"), Step::Parked { timeout_ms: Some(1500), .. }));
    bed.run("RPUSH q a");
    assert_eq!(first.kept.take().iter().flat_map(texts).collect::<Vec<_>>(), ["q", "a"], "first come, first served");
    assert!(second.kept.take().is_empty());
    bed.run("RPUSH q b c");
    assert_eq!(second.kept.take().iter().flat_map(texts).collect::<Vec<_>>(), ["q", "b"]);
    assert_eq!(texts(&bed.run("LRANGE q 0 -1")), ["c"]);
    bed.crash_after(vec![first, second]);
    assert_eq!(texts(&bed.run("LRANGE q 0 -1")), ["c"], "what was popped stays popped");
}

#[test]
fn a_blocked_client_that_goes_takes_nothing_along() {
    let mut bed = Bed::new();
    let mut gone = bed.talk();
    assert!(matches!(gone.step(&bed, "BLPOP q 0"), Step::Parked { .. }));
    drop(gone);
    let mut timed_out = bed.talk();
    let Step::Parked { ticket, .. } = timed_out.step(&bed, "BLPOP q 1") else { panic!("it waits") };
    assert!(matches!(timed_out.session.unpark(ticket), Unparked::Reply { reply: Reply::NullArray, .. }));
    bed.run("RPUSH q a");
    assert_eq!(texts(&bed.run("LRANGE q 0 -1")), ["a"]);
    assert!(timed_out.kept.take().is_empty());
}

#[test]
fn blocked_commands_pass_elements_on() {
    let mut bed = Bed::new();
    let (mut mover, mut popper) = (bed.talk(), bed.talk());
    assert!(matches!(popper.step(&bed, "BLPOP there 0"), Step::Parked { .. }));
    assert!(matches!(mover.step(&bed, "BLMOVE here there LEFT RIGHT 0"), Step::Parked { .. }));
    // Inside a transaction the pushes come first, then whoever waits.
    for line in ["MULTI", "RPUSH here x", "EXEC"] {
        bed.run(line);
    }
    assert_eq!(mover.kept.take(), [Reply::bulk("x")]);
    assert_eq!(popper.kept.take().iter().flat_map(texts).collect::<Vec<_>>(), ["there", "x"]);
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(0));
}

const LOOP: &str = "redis.call('SET','a','1') local i = 0 while i < 3000000 do i = i + 1 end \
                    redis.call('SET','b','1') return i";

fn eval(script: &str) -> Vec<&[u8]> {
    vec![b"EVAL", script.as_bytes(), b"2", b"a", b"b"]
}

#[test]
fn a_long_script_moves_off_and_runs_whole() {
    let mut bed = Bed::new();
    bed.run("SET a before");
    bed.checkpoint();
    let mut talk = bed.talk();
    let step = talk.session.command(&eval(LOOP), bed.moment(), &Bites(Cell::new(0)));
    let Step::Long(job) = step else { panic!("{step:?}") };
    assert_eq!(bed.run("GET a"), Reply::bulk("before"), "the attempt was taken back");
    bed.checkpoint();
    let account = talk.session.account().unwrap().clone();
    let (job, ran) = Session::run_long(&account, job, bed.moment(), &Patient);
    let Step::Reply { reply, .. } = talk.session.resume(job, ran) else { panic!("it is done") };
    assert_eq!(reply, Reply::Integer(3_000_000));
    drop((talk, account));
    bed.crash();
    assert_eq!(sorted(&bed.run("MGET a b")), ["1", "1"]);
}

/// The keys of an attempt that was taken back are stored, with its number; the next transaction must have another one.
#[test]
fn what_follows_an_attempt_taken_back_survives_a_crash() {
    let mut bed = Bed::new();
    bed.run("RPUSH a 1");
    let script = "redis.call('RPUSH','a','x') while true do end";
    let mut talk = bed.talk();
    let step = talk.session.command(&eval(script), bed.moment(), &Bites(Cell::new(0)));
    assert!(matches!(step, Step::Long(_)), "{step:?}");
    drop((talk, step));
    bed.checkpoint();
    bed.run("RPUSH a 2");
    bed.crash();
    assert_eq!(texts(&bed.run("LRANGE a 0 -1")), ["1", "2"]);
}

#[test]
fn a_long_script_can_be_killed() {
    let mut bed = Bed::new();
    assert_eq!(error(&bed.run("SCRIPT KILL")), "NOTBUSY No scripts in execution right now.");
    let mut talk = bed.talk();
    let script = "redis.call('SET','a','1') while true do end";
    let step = talk.session.command(&eval(script), bed.moment(), &Bites(Cell::new(0)));
    let Step::Long(job) = step else { panic!("{step:?}") };
    let account = talk.session.account().unwrap().clone();
    let (moment, mut other) = (bed.moment(), bed.talk());
    let (job, ran) = std::thread::scope(|scope| {
        let running = scope.spawn(|| Session::run_long(&account, job, moment, &Patient));
        while !account.database.is_busy() {
            std::thread::yield_now();
        }
        assert!(matches!(other.step(&bed, "GET a"), Step::Busy));
        // A new client comes meanwhile and waits for nobody.
        drop(bed.talk());
        while other.run(&bed, "SCRIPT KILL") != Reply::OK {
            std::thread::sleep(Duration::from_millis(1));
        }
        running.join().unwrap()
    });
    let Step::Reply { reply, .. } = talk.session.resume(job, ran) else { panic!("it is done") };
    assert!(error(&reply).contains("killed"), "{reply:?}");
    assert_eq!(bed.run("EXISTS a"), Reply::Integer(0), "its changes were taken back");
}

#[test]
fn a_watch_holds_until_a_long_transaction_has_run() {
    let mut bed = Bed::new();
    bed.run("SET watched 1");
    let mut talk = bed.talk();
    talk.run(&bed, "WATCH watched");
    talk.run(&bed, "MULTI");
    let queued = talk.session.command(&eval(LOOP), bed.moment(), &Patient);
    assert!(matches!(queued, Step::Reply { reply: Reply::Status(_), .. }));
    let step = talk.session.command(&words("EXEC"), bed.moment(), &Bites(Cell::new(0)));
    let Step::Long(job) = step else { panic!("{step:?}") };
    bed.run("SET watched 2");
    let account = talk.session.account().unwrap().clone();
    let (job, ran) = Session::run_long(&account, job, bed.moment(), &Patient);
    let Step::Reply { reply, .. } = talk.session.resume(job, ran) else { panic!("it is done") };
    assert_eq!(reply, Reply::NullArray);
    assert_eq!(bed.run("EXISTS a b"), Reply::Integer(0));
    talk.run(&bed, "MULTI");
    assert_eq!(talk.run(&bed, "EXEC"), Reply::Array(vec![]), "the watch ended with the transaction");
}

/// Ends scripts after a while, so that a test that fails does not hang.
struct Soon(std::time::Instant);

impl dormouse_engine::Watchdog for Soon {
    fn expired(&self) -> bool {
        self.0.elapsed() > Duration::from_secs(10)
    }
}

/// Runs something while a script holds the database.
fn while_busy<T>(bed: &mut Bed, work: impl FnOnce(&mut Bed) -> T) -> T {
    let mut talk = bed.talk();
    let step = talk.session.command(&eval("while true do end"), bed.moment(), &Bites(Cell::new(0)));
    let Step::Long(job) = step else { panic!("{step:?}") };
    let (account, moment) = (talk.session.account().unwrap().clone(), bed.moment());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| Session::run_long(&account, job, moment, &Soon(std::time::Instant::now())));
        while !account.database.is_busy() {
            std::thread::yield_now();
        }
        let done = work(bed);
        while account.database.kill_script().is_err() {
            std::thread::yield_now();
        }
        running.join().unwrap();
        done
    })
}

#[test]
fn what_concerns_the_client_alone_works_while_a_script_runs() {
    let mut bed = Bed::new();
    let (mut one, mut two, mut three) = (bed.talk(), bed.talk(), bed.talk());
    bed.run("SET watched 1");
    one.run(&bed, "WATCH watched");
    three.run(&bed, "SUBSCRIBE c");
    bed.run("SET watched 2");
    while_busy(&mut bed, |bed| {
        assert!(matches!(two.step(bed, "GET a"), Step::Busy));
        assert_eq!(one.run(bed, "UNWATCH"), Reply::OK);
        assert_eq!(one.run(bed, "MULTI"), Reply::OK);
        assert_eq!(error(&one.run(bed, "MULTI")), "ERR MULTI calls can not be nested");
        assert_eq!(two.run(bed, "MULTI"), Reply::OK);
        assert_eq!(two.run(bed, "DISCARD"), Reply::OK);
        assert_eq!(two.run(bed, "WATCH watched missing"), Reply::OK);
        assert!(matches!(two.run(bed, "HELLO 3 SETNAME two"), Reply::Map(_)));
        assert!(error(&two.run(bed, "HELLO 3 SETNAME a\u{1}b")).starts_with("ERR Client names"));
        assert_eq!(three.run(bed, "RESET"), Reply::status("RESET"));
        let mut four = bed.talk();
        assert_eq!(four.run(bed, "QUIT"), Reply::OK);
        assert!(four.session.client.closing);
    });
    assert_eq!(one.run(&bed, "EXEC"), Reply::Array(vec![]), "the watch that was broken is gone");
    assert_eq!(two.run(&bed, "CLIENT GETNAME"), Reply::bulk("two"));
    assert!(texts(&bed.run("CLIENT LIST"))[0].contains(" name=two "));
    two.run(&bed, "MULTI");
    assert_eq!(two.run(&bed, "EXEC"), Reply::Array(vec![]), "nothing has changed since it began to watch");
    assert_eq!(bed.run("PUBLISH c m"), Reply::Integer(0), "RESET ended the subscription");
    while_busy(&mut bed, |bed| drop(two.run(bed, "WATCH watched")));
    bed.run("SET watched 3");
    two.run(&bed, "MULTI");
    assert_eq!(two.run(&bed, "EXEC"), Reply::NullArray, "a watch that began meanwhile holds");
}

#[test]
fn an_exec_that_may_not_run_drops_its_transaction() {
    let mut bed = Bed::new();
    let mut talk = bed.talk();
    let arity = "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    assert_eq!(error(&talk.run(&bed, "EXEC x")), arity, "even without MULTI, as in Redis");
    talk.run(&bed, "WATCH k");
    talk.run(&bed, "MULTI");
    talk.run(&bed, "SET a 1");
    assert_eq!(error(&talk.run(&bed, "EXEC x")), arity);
    assert_eq!(error(&talk.run(&bed, "EXEC")), "ERR EXEC without MULTI");
    assert!(talk.session.client.watching.is_empty());
    talk.run(&bed, "MULTI");
    while_busy(&mut bed, |bed| {
        assert!(matches!(talk.step(bed, "EXEC"), Step::Busy));
        let text = "EXECABORT Transaction discarded because of: BUSY Redis is busy running a script.";
        assert!(error(&talk.session.busy()).starts_with(text));
    });
    assert_eq!(error(&talk.run(&bed, "EXEC")), "ERR EXEC without MULTI");
    assert_eq!(bed.run("EXISTS a"), Reply::Integer(0));
}

#[test]
fn a_script_that_runs_for_too_long_breaks_transactions() {
    let mut bed = Bed::new();
    let (mut talk, mut other) = (bed.talk(), bed.talk());
    let database = talk.session.account().unwrap().database.clone();
    database.configure(|hub| hub.settings.busy_after_ms = 200);
    talk.run(&bed, "MULTI");
    while_busy(&mut bed, |bed| {
        while !database.is_script_running() {
            std::thread::yield_now();
        }
        assert_eq!(talk.run(bed, "SET a 1"), Reply::status("QUEUED"), "it may be over soon");
        assert!(!talk.session.is_kept_too_long(Duration::from_millis(199), bed.moment()));
        assert!(talk.session.is_kept_too_long(Duration::from_millis(200), bed.moment()), "by several scripts");
        bed.pass_ms(200);
        assert!(error(&talk.run(bed, "SET b 2")).starts_with("BUSY Redis is busy running a script."));
        assert_eq!(other.run(bed, "MULTI"), Reply::OK);
        assert!(error(&other.run(bed, "SET b 2")).starts_with("BUSY "));
        assert!(
            error(&other.run(bed, "EXEC"))
                .starts_with("EXECABORT Transaction discarded because of: BUSY Redis is busy")
        );
        assert!(talk.session.is_kept_too_long(Duration::ZERO, bed.moment()));
    });
    let aborted = "EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(error(&talk.run(&bed, "EXEC")), aborted);
    assert_eq!(bed.run("EXISTS a b"), Reply::Integer(0));
    database.configure(|hub| hub.settings.busy_after_ms = 0);
    while_busy(&mut bed, |bed| {
        bed.pass_ms(1_000_000);
        assert!(!talk.session.is_kept_too_long(Duration::from_secs(1_000), bed.moment()));
    });
}

#[test]
fn a_script_sees_no_dead_keys_in_the_store() {
    let mut bed = Bed::new();
    for line in ["SET stays v", "SET dies v PX 1000", "SET later v PX 5000"] {
        bed.run(line);
    }
    bed.chill();
    bed.pass_ms(1_000);
    for script in ["return redis.call('KEYS','*')", "return redis.call('SCAN','0','COUNT','100')[2]"] {
        assert_eq!(sorted(&bed.run_args(&[b"EVAL", script.as_bytes(), b"0"])), ["later", "stays"], "{script}");
    }
}

#[test]
fn a_transaction_whose_effects_pass_the_limit_writes_no_more() {
    let mut bed = Bed::new();
    let database = bed.talk().session.account().unwrap().database.clone();
    database.configure(|hub| hub.limits.journal_bytes_max = 1_000);
    let value = "v".repeat(600);
    bed.run("MULTI");
    for key in ["a", "b", "c", "d"] {
        bed.run(&format!("SET {key} {value}"));
    }
    bed.run("EXISTS a b c d");
    let Reply::Array(replies) = bed.run("EXEC") else { panic!("it runs") };
    assert_eq!(replies[..2], [Reply::OK, Reply::OK]);
    assert!(replies[2..4].iter().all(|reply| error(reply) == "ERR max single record size exceeded"));
    assert_eq!(replies[4], Reply::Integer(2));
    drop(database);
    bed.crash();
    assert_eq!(bed.run("EXISTS a b c d"), Reply::Integer(2));
}
