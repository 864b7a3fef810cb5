//! Libraries of functions are as durable as keys, wake with the database, and end when somebody says so.

use std::cell::Cell;

use dormouse_database::{Session, Step};
use dormouse_engine::Patient;
use dormouse_proto::Reply;

use crate::support::{Bed, Bites, error, texts, words};

const COUNT: &str = "#!lua name=count
    redis.register_function('count', function(keys) return redis.call('INCR', keys[1]) end)
    redis.register_function('loop', function(keys) redis.call('SET', keys[1], 'x') while true do end end)";

fn load(bed: &mut Bed, text: &str) -> Reply {
    bed.run_args(&[b"FUNCTION", b"LOAD", b"REPLACE", text.as_bytes()])
}

fn libraries(bed: &mut Bed) -> i64 {
    match texts(&bed.run("FUNCTION STATS")).iter().rev().nth(2).map(|count| count.parse()) {
        Some(Ok(count)) => count,
        other => panic!("{other:?}"),
    }
}

/// A small library with a function of the same name.
fn small(name: &str, returns: usize) -> String {
    format!("#!lua name={name}\nredis.register_function('{name}', function() return {returns} end)")
}

#[test]
fn what_was_loaded_is_there_after_a_crash_a_stop_and_a_sleep() {
    let mut bed = Bed::new();
    assert_eq!(load(&mut bed, COUNT), Reply::bulk("count"));
    bed.crash();
    assert_eq!(bed.run("FCALL count 1 k"), Reply::Integer(1), "from the log");
    bed.checkpoint();
    bed.crash();
    assert_eq!(bed.run("FCALL count 1 k"), Reply::Integer(2), "from the store");
    bed.restart();
    assert_eq!(bed.run("FCALL count 1 k"), Reply::Integer(3));
    bed.chill();
    assert_eq!(bed.run("FCALL count 1 k"), Reply::Integer(4), "it was not in memory");
    assert_eq!(libraries(&mut bed), 1);
}

#[test]
fn changes_over_what_is_stored_are_replayed() {
    let mut bed = Bed::new();
    for name in ["a", "b", "c"] {
        load(&mut bed, &small(name, 1));
    }
    bed.chill();
    load(&mut bed, &small("a", 2));
    bed.run("FUNCTION DELETE b");
    bed.crash();
    for (call, reply) in [("FCALL a 0", Reply::Integer(2)), ("FCALL c 0", Reply::Integer(1))] {
        assert_eq!(bed.run(call), reply);
    }
    assert_eq!(error(&bed.run("FCALL b 0")), "ERR Function not found");
    bed.run("FUNCTION FLUSH");
    bed.crash();
    assert_eq!(libraries(&mut bed), 0);
    bed.chill();
    bed.restart();
    assert_eq!(libraries(&mut bed), 0, "nothing of them is in the store");
}

#[test]
fn emptying_the_keys_leaves_the_functions_through_crashes_and_checkpoints() {
    let mut bed = Bed::new();
    load(&mut bed, COUNT);
    bed.run("SET k 5");
    bed.run("FLUSHALL");
    bed.crash();
    assert_eq!(bed.run("FCALL count 1 k"), Reply::Integer(1));
    bed.checkpoint();
    bed.run("FLUSHALL");
    bed.checkpoint();
    bed.crash();
    assert_eq!(bed.run("FCALL count 1 k"), Reply::Integer(1));
    // In one record: the library before, the keys after the flush.
    let mut talk = bed.talk();
    talk.run(&bed, "MULTI");
    talk.session.command(&[b"FUNCTION", b"LOAD", small("a", 7).as_bytes()], bed.moment(), &Patient);
    for line in ["SET gone 1", "FLUSHALL", "FUNCTION DELETE count", "SET kept 1"] {
        talk.run(&bed, line);
    }
    talk.run(&bed, "EXEC");
    bed.crash_after(vec![talk]);
    assert_eq!(bed.run("FCALL a 0"), Reply::Integer(7));
    assert_eq!(bed.run("EXISTS gone kept"), Reply::Integer(1));
    assert_eq!(libraries(&mut bed), 1);
}

#[test]
fn a_transaction_that_is_taken_back_takes_its_libraries_along() {
    let mut bed = Bed::new();
    load(&mut bed, COUNT);
    bed.chill();
    let mut talk = bed.talk();
    talk.run(&bed, "MULTI");
    talk.session.command(&[b"FUNCTION", b"LOAD", small("a", 1).as_bytes()], bed.moment(), &Patient);
    talk.run(&bed, "FUNCTION DELETE count");
    talk.session.command(&[b"EVAL", b"for i = 1, 1e6 do end", b"0"], bed.moment(), &Patient);
    let step = talk.session.command(&words("EXEC"), bed.moment(), &Bites(Cell::new(0)));
    assert!(matches!(step, Step::Long(_)), "{step:?}");
    assert_eq!(bed.run("FCALL count 1 k"), Reply::Integer(1), "nobody sees the attempt");
    assert_eq!(libraries(&mut bed), 1);
    // What was touched and taken back is stored; the next change must not be taken for it.
    bed.checkpoint();
    bed.run("FUNCTION DELETE count");
    drop((talk, step));
    bed.crash();
    assert_eq!(libraries(&mut bed), 0);
}

#[test]
fn a_long_load_moves_off_and_is_kept() {
    let mut bed = Bed::new();
    let text = format!("{}\nfor i = 1, 1e6 do end", small("a", 1));
    let mut talk = bed.talk();
    let args: [&[u8]; 3] = [b"FUNCTION", b"LOAD", text.as_bytes()];
    let step = talk.session.command(&args, bed.moment(), &Bites(Cell::new(0)));
    let Step::Long(job) = step else { panic!("{step:?}") };
    assert_eq!(libraries(&mut bed), 0);
    let account = talk.session.account().unwrap().clone();
    let (job, ran) = Session::run_long(&account, job, bed.moment(), &Patient);
    let Step::Reply { reply, .. } = talk.session.resume(job, ran) else { panic!("it is done") };
    assert_eq!(reply, Reply::bulk("a"));
    drop((talk, account));
    bed.crash();
    assert_eq!(bed.run("FCALL a 0"), Reply::Integer(1));
}

#[test]
fn a_long_function_is_shown_and_killed_by_its_own_command() {
    let mut bed = Bed::new();
    assert_eq!(error(&bed.run("FUNCTION KILL")), "NOTBUSY No scripts in execution right now.");
    load(&mut bed, COUNT);
    load(&mut bed, &small("a", 1));
    bed.chill();
    let mut talk = bed.talk();
    let step = talk.session.command(&words("FCALL loop 1 k"), bed.moment(), &Bites(Cell::new(0)));
    let Step::Long(job) = step else { panic!("{step:?}") };
    let account = talk.session.account().unwrap().clone();
    let (moment, mut other) = (bed.moment(), bed.talk());
    bed.pass_ms(1_500);
    let (job, ran) = std::thread::scope(|scope| {
        let running = scope.spawn(|| Session::run_long(&account, job, moment, &Patient));
        let stats = loop {
            match other.step(&bed, "FUNCTION STATS") {
                Step::Reply { reply: Reply::Map(stats), .. } if stats[0].1 != Reply::Null => break stats,
                _ => std::thread::yield_now(),
            }
        };
        let expected = "running_script name loop command FCALL loop 1 k duration_ms 1500 \
                        engines LUA libraries_count 2 functions_count 3";
        assert_eq!(texts(&Reply::Map(stats)).join(" "), expected);
        assert!(matches!(other.step(&bed, "GET k"), Step::Busy));
        let busy = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
        let told = other.session.busy();
        let refused = other.run(&bed, "SCRIPT KILL");
        assert_eq!(other.run(&bed, "FUNCTION KILL"), Reply::OK);
        assert_eq!((error(&told).as_str(), error(&refused).as_str()), (busy, busy));
        running.join().unwrap()
    });
    let Step::Reply { reply, .. } = talk.session.resume(job, ran) else { panic!("it is done") };
    assert!(error(&reply).contains("killed by user with FUNCTION KILL"), "{reply:?}");
    assert_eq!(bed.run("EXISTS k"), Reply::Integer(0), "its changes were taken back");
}

#[test]
fn a_long_script_is_not_ended_as_a_function() {
    let bed = Bed::new();
    let mut talk = bed.talk();
    let args: [&[u8]; 3] = [b"EVAL", b"while true do end", b"0"];
    let step = talk.session.command(&args, bed.moment(), &Bites(Cell::new(0)));
    let Step::Long(job) = step else { panic!("{step:?}") };
    let account = talk.session.account().unwrap().clone();
    let (moment, mut other) = (bed.moment(), bed.talk());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| Session::run_long(&account, job, moment, &Patient));
        let busy = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
        let refused = loop {
            match error(&other.run(&bed, "FUNCTION KILL")) {
                text if text.starts_with("NOTBUSY") => std::thread::yield_now(),
                text => break text,
            }
        };
        let stats = other.run(&bed, "FUNCTION STATS");
        while other.run(&bed, "SCRIPT KILL") != Reply::OK {
            std::thread::yield_now();
        }
        running.join().unwrap();
        assert_eq!((refused.as_str(), error(&stats).as_str()), (busy, busy));
    });
}
