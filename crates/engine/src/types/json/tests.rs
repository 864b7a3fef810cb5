//! Commands on documents; that each can be taken back and replayed, the bench checks.

use dormouse_proto::Reply;

use crate::testing::Bench;

/// Runs a line whose last words may hold spaces inside single quotes.
fn run(bench: &mut Bench, line: &str) -> Reply {
    let mut args: Vec<String> = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 { args.push(part.to_owned()) } else { args.extend(part.split_whitespace().map(str::to_owned)) }
    }
    bench.run_args(&args.iter().map(String::as_bytes).collect::<Vec<_>>())
}

fn document(bench: &mut Bench) -> String {
    match bench.run("JSON.GET k") {
        Reply::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        reply => format!("{reply:?}"),
    }
}

/// What a document becomes.
#[track_caller]
fn becomes(before: &str, command: &str, reply: &Reply, after: &str) {
    let mut bench = Bench::new();
    bench.run_args(&[b"JSON.SET", b"k", b"$", before.as_bytes()]);
    assert_eq!(&run(&mut bench, command), reply, "{command}");
    assert_eq!(document(&mut bench), after, "{command}");
}

fn ints(values: &[i64]) -> Reply {
    Reply::Array(values.iter().map(|&value| Reply::Integer(value)).collect())
}

#[test]
fn places_inside_one_another_are_changed_in_turn() {
    let nested = r#"{"a":{"z":1,"a":{"a":1}},"b":{"a":2}}"#;
    becomes(nested, "JSON.SET k $..a 5", &Reply::OK, r#"{"a":5,"b":{"a":5}}"#);
    let deeper = r#"{"a":{"a":{"a":{"a":9}}},"b":{"a":{"a":9}}}"#;
    becomes(nested, r#"JSON.SET k $..a {"a":9}"#, &Reply::OK, deeper);
    becomes("[[[1,2],3],4]", "JSON.DEL k $..[0]", &Reply::Integer(1), "[4]");
    becomes("[0,1,2,3,4]", "JSON.DEL k $[0,0,2,-1]", &Reply::Integer(3), "[1,3]");
    becomes(
        "[[[1,2],3],4]",
        "JSON.ARRAPPEND k $..[0] 9",
        &Reply::Array(vec![Reply::Null, Reply::Integer(3), Reply::Integer(3)]),
        "[[[1,2,9],3,9],4]",
    );
    becomes(
        "[[[1],2],3]",
        "JSON.ARRINSERT k $..[0] 0 9",
        &Reply::Array(vec![Reply::Null, Reply::Null, Reply::Integer(3)]),
        "[[9,[1],2],3]",
    );
    becomes("[1]", "JSON.NUMINCRBY k $[0,0,-1] 1", &Reply::bulk("[2,3,4]"), "[4]");
    becomes(r#"{"a":{"a":{"b":1}},"l":[[1],[2]]}"#, "JSON.CLEAR k $..*", &Reply::Integer(2), r#"{"a":{},"l":[]}"#);
}

#[test]
fn an_error_at_one_place_leaves_all_as_they_were() {
    let bounds = Reply::Error("ERR index out of bounds".to_owned().into());
    becomes("[[1,2],[]]", "JSON.ARRINSERT k $[*] 1 9", &bounds, "[[1,2],[]]");
    let overflow = Reply::Error(dormouse_proto::CommandError::Overflow);
    becomes("[1,9223372036854775807]", "JSON.NUMINCRBY k $[*] 1", &overflow, "[1,9223372036854775807]");
    becomes(
        "[9223372036854775806]",
        "JSON.NUMINCRBY k $[0,0] 1",
        &Reply::bulk("[9223372036854775807,null]"),
        "[9223372036854775807]",
    );
    becomes(
        "[1,1e308]",
        "JSON.NUMMULTBY k $[*] 1e10",
        &Reply::Error("ERR result is not a number".to_owned().into()),
        "[1,1e308]",
    );
}

#[test]
fn the_last_member_takes_the_place_of_one_removed() {
    let five = r#"{"a":1,"b":2,"c":3,"d":4,"e":5}"#;
    becomes(five, "JSON.DEL k $.b", &Reply::Integer(1), r#"{"a":1,"e":5,"c":3,"d":4}"#);
    becomes(five, r#"JSON.DEL k $["c","a","c"]"#, &Reply::Integer(2), r#"{"e":5,"b":2,"d":4}"#);
    becomes(five, r#"JSON.MERGE k $ {"a":null,"f":1,"c":null}"#, &Reply::OK, r#"{"e":5,"b":2,"f":1,"d":4}"#);
}

#[test]
fn trimming_keeps_what_is_in_the_range() {
    for (range, length, after) in [
        ("1 4", 4, "[1,2,3,4]"),
        ("-3 -1", 3, "[3,4,5]"),
        ("0 100", 6, "[0,1,2,3,4,5]"),
        ("-100 1", 2, "[0,1]"),
        ("1 0", 0, "[]"),
        ("7 9", 0, "[]"),
        ("0 -100", 1, "[0]"),
        ("-100 -99", 1, "[0]"),
        ("2 -2", 3, "[2,3,4]"),
    ] {
        becomes("[0,1,2,3,4,5]", &format!("JSON.ARRTRIM k $ {range}"), &ints(&[length]), after);
    }
}

#[test]
fn a_small_write_is_a_small_record() {
    let mut bench = Bench::new();
    let large = format!(r#"{{"n":1,"text":"{}"}}"#, "x".repeat(10_000));
    bench.run_args(&[b"JSON.SET", b"k", b"$", large.as_bytes()]);
    for command in ["JSON.NUMINCRBY k $.n 1", "JSON.SET k $.m 1", "JSON.DEL k $.m", "JSON.STRAPPEND k $.text \"y\""] {
        bench.run(command);
        assert!((1..50).contains(&bench.journal_bytes), "{command}: {}", bench.journal_bytes);
    }
}

#[test]
fn documents_keep_their_limits() {
    let mut bench = Bench::new();
    bench.run("JSON.SET k $ [[1,2,3,4,5,6,7,8,9,10]]");
    bench.hub.limits.record_bytes_max = 5_000;
    let text = format!("\"{}\"", "x".repeat(1_000));
    let refused = "ERR max single record size exceeded";
    assert_eq!(bench.error(&format!("JSON.SET k $[0][*] {text}")), refused);
    assert_eq!(bench.error(&format!("JSON.MERGE k $[0][*] {text}")), refused);
    assert_eq!(bench.error(&format!("JSON.ARRAPPEND k $[0] {text} {text} {text} {text} {text}")), refused);
    assert_eq!(bench.error(&format!("JSON.MSET a $ 1 b $ [{}1]", "1,".repeat(300))), refused);
    assert_eq!(bench.run("EXISTS a"), Reply::Integer(0));
    bench.hub.limits.json_depth_max = 3;
    let deep = "ERR the document is nested too deeply";
    assert_eq!(bench.error("JSON.SET deep $ [[[[]]]]"), deep);
    assert_eq!(bench.error("JSON.SET k $[0][0] [[]]"), deep);
    assert_eq!(bench.error("JSON.ARRAPPEND k $[0] [[]]"), deep);
    assert_eq!(bench.error(r#"JSON.MERGE k $[0][0] {"a":{}}"#), deep);
    assert_eq!(bench.run("JSON.ARRAPPEND k $[0] []"), ints(&[11]));
    bench.hub.limits.string_bytes_max = 40;
    assert_eq!(bench.error("JSON.GET k $..* $..*"), "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
}

#[test]
fn the_newer_protocol_shows_numbers_and_one_array_more() {
    let mut bench = Bench::new();
    bench.client.protocol = 3;
    bench.run(r#"JSON.SET k $ {"a":1,"b":1.5,"s":"x"}"#);
    let one = |reply| Reply::Array(vec![reply]);
    assert_eq!(bench.run("JSON.TYPE k .a"), one(Reply::bulk("integer")));
    assert_eq!(bench.run("JSON.TYPE k $.a"), one(one(Reply::bulk("integer"))));
    assert_eq!(bench.run("JSON.TYPE none"), one(Reply::Null));
    assert_eq!(bench.run("JSON.NUMINCRBY k .a 1"), ints(&[2]));
    assert_eq!(bench.run("JSON.NUMINCRBY k $.s 1"), one(Reply::Null));
    assert_eq!(bench.run("JSON.NUMINCRBY k .nope 1"), ints(&[]));
    assert_eq!(bench.run("JSON.NUMMULTBY k .b 2"), one(Reply::Double(3.0)));
    let script = "return redis.call('JSON.TYPE', 'k', '.a')";
    assert_eq!(bench.run_args(&[b"EVAL", script.as_bytes(), b"0"]), Reply::bulk("integer"));
}

#[test]
fn events_tell_what_changed_and_nothing_else() {
    let mut bench = Bench::new();
    bench.run("CONFIG SET notify-keyspace-events Kd");
    bench.run("PSUBSCRIBE *");
    for command in [
        r#"JSON.SET k $ {"a":1,"l":[],"s":"x"}"#,
        "JSON.SET k $.a.b 2",
        "JSON.SET k $.a 2 NX",
        "JSON.NUMINCRBY k $.a 1",
        "JSON.NUMINCRBY k $.s 1",
        "JSON.ARRPOP k $.l",
        "JSON.TOGGLE k $.a",
        "JSON.MERGE k $.a 2",
        "JSON.MSET k $.b 1 k $.x.y 1",
        "JSON.CLEAR k $.s",
        "JSON.DEL k $.nope",
        "JSON.FORGET k $.b",
        "JSON.DEL k",
    ] {
        bench.run(command);
    }
    let events: Vec<String> = bench.published.iter().map(|(_, event)| String::from_utf8_lossy(event).into()).collect();
    assert_eq!(events, ["json.set", "json.numincrby", "json.merge", "json.mset", "json.del", "json.del"]);
}

#[test]
fn a_document_outlives_its_content_and_keeps_its_deadline() {
    let mut bench = Bench::new();
    bench.run("JSON.SET k $ {}");
    bench.run("EXPIRE k 100");
    bench.run("JSON.SET k $ []");
    assert_eq!(bench.run("TTL k"), Reply::Integer(100));
    bench.run("JSON.MERGE k $ {\"a\":1}");
    assert_eq!(bench.run("TTL k"), Reply::Integer(100));
    assert_eq!(bench.run("JSON.DEL k $.a"), Reply::Integer(1));
    assert_eq!((bench.run("EXISTS k"), document(&mut bench)), (Reply::Integer(1), "{}".into()));
    assert_eq!(bench.run("JSON.DEL k ."), Reply::Integer(1));
    assert_eq!(bench.size().0, 0);
}

#[test]
fn other_types_are_not_documents_and_documents_no_other_type() {
    let mut bench = Bench::new();
    bench.run("SET s x");
    bench.run("JSON.SET k $ 1");
    let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
    for command in
        ["JSON.SET s $ 1", "JSON.GET s", "JSON.DEL s", "JSON.MSET k $ 2 s $ 1", "JSON.CLEAR s", "GET k", "APPEND k x"]
    {
        assert_eq!(bench.error(command), wrong, "{command}");
    }
    assert_eq!(document(&mut bench), "1");
    assert_eq!(bench.run("JSON.MGET s k none ."), Reply::Array(vec![Reply::Null, Reply::bulk("1"), Reply::Null]));
    assert_eq!(bench.run("TYPE k"), Reply::status("ReJSON-RL"));
}
