//! Rules, passwords and tokens of users, as `ACL` shows them and as commands meet them.

use dormouse_proto::Reply;

use super::*;
use crate::table::find;
use crate::testing::Bench;

fn user(rules: &str) -> User {
    let args: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    let mut user = User::new(b"u");
    for rule in merge(&args).unwrap() {
        user.apply(&rule, Some(1)).unwrap();
    }
    user
}

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

fn verdict(user: &User, line: &str) -> &'static str {
    let args = words(line);
    match user.check(find(&args).unwrap().command, &args) {
        Ok(()) => "yes",
        Err(Denial::Command) => "command",
        Err(Denial::Key(_)) => "key",
        Err(Denial::Channel(_)) => "channel",
    }
}

/// Each line: the rules, then commands with what is said to them.
#[test]
fn commands_are_checked_by_name_key_and_channel() {
    #[rustfmt::skip]
    let table: &[(&str, &[(&str, &str)])] = &[
        ("+get", &[("GET k", "key"), ("SET k v", "command"), ("AUTH x", "yes"), ("QUIT", "yes")]),
        ("+@all", &[("PING", "yes"), ("GET k", "key"), ("PUBLISH c m", "channel"), ("DBSIZE", "yes")]),
        ("allcommands ~k* &c*", &[("GET k1", "yes"), ("GET x", "key"), ("MGET k1 k2", "yes"), ("MGET k1 x", "key"),
            ("PUBLISH c1 m", "yes"), ("PUBLISH d m", "channel"), ("SUBSCRIBE c1 d", "channel"), ("UNSUBSCRIBE d", "yes"),
            // Patterns are granted letter for letter.
            ("PSUBSCRIBE c*", "yes"), ("PSUBSCRIBE c1", "channel"), ("PSUBSCRIBE *", "channel")]),
        ("+@all %R~r %W~w ~b", &[
            ("GET r", "yes"), ("GET w", "key"), ("SET w v", "yes"), ("SET r v", "key"), ("SET w v GET", "key"),
            ("SET b v GET", "yes"), ("SET w v IFEQ x", "key"), ("APPEND w v", "yes"), ("INCR w", "key"), ("INCR b", "yes"),
            ("EXISTS w", "yes"), ("STRLEN w", "yes"), ("TTL w", "key"), ("DEL w r", "key"), ("DEL w b", "yes"),
            ("COPY r w", "yes"), ("COPY w r", "key"), ("RENAME b w", "yes"), ("RENAME w b", "key"),
            ("SINTERSTORE w r b", "yes"), ("SINTERSTORE r w", "key"), ("SINTERCARD 2 r b", "yes"),
            ("SINTERCARD 2 r w", "key"), ("ZUNIONSTORE w 2 r b", "yes"), ("ZUNIONSTORE r 1 w", "key"),
            ("LMOVE b w LEFT LEFT", "yes"), ("LMOVE r w LEFT LEFT", "key"), ("LPOP w", "key"), ("LPUSH w x", "yes"),
            ("SORT r", "yes"), ("SORT r STORE w", "yes"), ("SORT r STORE r", "key"), ("SORT w", "key"),
            ("GEORADIUS r 0 0 1 m STORE w", "yes"), ("GEORADIUS r 0 0 1 m STORE x", "key"),
            ("BITFIELD r GET u8 0", "yes"), ("BITFIELD r SET u8 0 1", "key"), ("BITFIELD r GET u8 0 INCRBY u8 0 1", "key"),
            ("XREAD STREAMS r b 0 0", "yes"), ("XREAD COUNT 1 STREAMS r x 0 0", "key"), ("XADD w * f v", "yes"),
            ("XGROUP CREATE w g 0", "yes"), ("XGROUP CREATE r g 0", "key"), ("XINFO STREAM w", "key"),
            ("EVAL s 1 b", "yes"), ("EVAL s 1 r", "key"), ("EVAL_RO s 1 r", "yes"), ("EVAL s 0 x", "yes"),
            ("MSET w 1 b 2", "yes"), ("MSET w 1 r 2", "key"), ("WATCH w", "yes"), ("WATCH x", "key"),
            ("OBJECT ENCODING w", "yes"), ("JSON.GET r", "yes"), ("JSON.SET w $ 1", "key"), ("PFMERGE b r", "yes")]),
        ("+@all -@dangerous ~*", &[("KEYS *", "command"), ("FLUSHALL", "command"), ("CONFIG GET x", "command"),
            ("SORT k", "command"), ("INFO", "command"), ("GET k", "yes"), ("ACL WHOAMI", "yes"), ("ACL LIST", "command")]),
        ("+@read -get ~*", &[("GET k", "command"), ("MGET k", "yes"), ("SET k v", "command"), ("EVAL_RO s 0", "command")]),
        ("+@all -@write ~*", &[("SET k v", "command"), ("EVAL s 0", "yes"), ("GET k", "yes")]),
        ("+@connection", &[("COMMAND", "yes"), ("COMMAND DOCS", "yes"), ("WAIT 0 0", "yes"), ("PING", "yes"), ("DBSIZE", "command")]),
        ("+@keyspace ~*", &[("DBSIZE", "yes"), ("FLUSHALL", "yes"), ("DEL k", "yes"), ("SORT k", "command")]),
        ("+@sortedset ~*", &[("SORT k", "yes"), ("ZADD k 1 m", "yes"), ("GET k", "command")]),
        ("+config|get", &[("CONFIG GET x", "yes"), ("CONFIG SET a b", "command")]),
        ("+config -config|set", &[("CONFIG GET x", "yes"), ("CONFIG SET a b", "command"), ("CONFIG RESETSTAT", "yes")]),
        ("+select|0 +SELECT|1", &[("SELECT 0", "yes"), ("SELECT 1", "yes"), ("SELECT 2", "command")]),
        ("+select|0 -select", &[("SELECT 0", "command")]),
        // One selector must grant all of it.
        ("+get ~a (+set ~b) (+@all %R~c &c)", &[("GET a", "yes"), ("SET a v", "key"), ("SET b v", "yes"), ("GET b", "key"),
            ("GET c", "yes"), ("MGET a c", "key"), ("SET c v", "key"), ("PUBLISH c m", "yes"), ("PUBLISH d m", "channel")]),
    ];
    for (rules, lines) in table {
        let user = user(rules);
        for (line, expected) in *lines {
            assert_eq!(verdict(&user, line), *expected, "{rules}: {line}");
        }
    }
}

#[test]
fn the_latest_argument_out_of_reach_is_named() {
    let user = user("+@all ~a (+@all ~b)");
    let args = words("MGET a b c");
    assert_eq!(user.check(find(&args).unwrap().command, &args), Err(Denial::Key(Blob::from(b"b".as_slice()))));
}

#[test]
fn rules_are_shown_as_the_latest_redis_does() {
    for (rules, shown) in [
        ("", "off sanitize-payload resetchannels -@all"),
        (
            "ON >pw allkeys ALLCHANNELS +@all",
            "on sanitize-payload #30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4 ~* &* +@all",
        ),
        ("~a %R~a", "off sanitize-payload ~a resetchannels -@all"),
        ("%R~a %W~a %w~b %wr~c", "off sanitize-payload ~a %W~b ~c resetchannels -@all"),
        ("%R", "off sanitize-payload %R~ resetchannels -@all"),
        ("&a resetchannels &b", "off sanitize-payload resetchannels &b -@all"),
        (
            "+@all -@dangerous +keys -config|get +config|get -config",
            "off sanitize-payload resetchannels +@all -@dangerous +keys -config",
        ),
        (
            "-@all +@read -get +GET +@WRITE -CONFIG|SET",
            "off sanitize-payload resetchannels -@all +@read +get +@write -config|set",
        ),
        ("+get|a +get", "off sanitize-payload resetchannels -@all +get"),
        ("+@all -get -@hash +@hash +hget|x -hget", "off sanitize-payload resetchannels +@all -get +@hash -hget"),
        ("+get +@all", "off sanitize-payload resetchannels +@all"),
        (
            "on (~a) (%R~b +get -@all +@hash )",
            "on sanitize-payload resetchannels -@all (~a resetchannels -@all) (%R~b resetchannels -@all +@hash)",
        ),
        ("on +@all >x ~* (~a) skip-sanitize-payload reset", "off sanitize-payload resetchannels -@all"),
        ("(~a) clearselectors", "off sanitize-payload resetchannels -@all"),
        (
            ">a >b >a <a",
            "off sanitize-payload #3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d resetchannels -@all",
        ),
    ] {
        let user = user(rules);
        assert_eq!(String::from_utf8(user.rules().join(&b' ')).unwrap(), shown, "{rules}");
        let mut bytes = Vec::new();
        user.write(&mut bytes);
        let read = User::read(b"u", &mut Reader::new(&bytes)).unwrap();
        assert_eq!(read.rules(), user.rules(), "{rules}");
        assert!(read.root.commands.grants_as(&user.root.commands), "{rules}");
    }
}

#[test]
fn rules_that_mean_nothing_are_refused() {
    use RuleError as E;
    for (rule, error) in [
        ("nonsense", E::Syntax),
        ("+nope", E::Unknown),
        ("+@nope", E::Unknown),
        ("-@", E::Unknown),
        ("+", E::Unknown),
        ("+config|nope", E::Unknown),
        ("-select|0", E::Unknown),
        ("+|x", E::Unknown),
        ("+get|", E::Syntax),
        ("+config|get|x", E::WordOfSubcommand),
        ("%X~a", E::Syntax),
        ("%~a", E::Syntax),
        ("%RR~a", E::Syntax),
        ("%", E::Syntax),
        ("~a\tb", E::Syntax),
        ("&a\0", E::Syntax),
        ("#abc", E::BadHash),
        ("#E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", E::BadHash),
        ("!abc", E::BadHash),
        ("<nope", E::NoSuchPassword),
        ("nopass", E::NoPassword),
        ("(on)", E::Syntax),
        ("(+nope)", E::Unknown),
        ("(~* ~a)", E::AfterAllKeys),
        ("(&* &a)", E::AfterAllChannels),
        ("((~a)", E::Syntax),
        ("(", E::Syntax),
        (")", E::Syntax),
    ] {
        assert_eq!(User::new(b"u").apply(rule.as_bytes(), Some(1)), Err(error), "{rule}");
    }
    assert_eq!(merge(&words("on (~a +get")), Err(b"(~a".to_vec()));
    assert_eq!(merge(&words("(~a +get ) on")), Ok(vec![b"(~a +get )".to_vec(), b"on".to_vec()]));
}

/// Any soup of what rules are made of: no panic, and what parses is the same after it was kept.
#[test]
fn whatever_parses_reads_back() {
    const PARTS: &[&str] = &[
        "+",
        "-",
        "@",
        "~",
        "%",
        "R",
        "W",
        "&",
        "*",
        ">",
        "<",
        "#",
        "!",
        "(",
        ")",
        " ",
        "|",
        "get",
        "config",
        "set",
        "select",
        "all",
        "read",
        "hash",
        "on",
        "off",
        "reset",
        "resetkeys",
        "allkeys",
        "x",
        "\u{e9}",
        "dangerous",
        "0",
        "client",
    ];
    let mut random = crate::moment::Random::new(7);
    let mut parsed = 0;
    for _ in 0..20_000 {
        let mut user = User::new(b"u");
        for _ in 0..4 {
            let length = 1 + random.below(5);
            let rule: String = (0..length).map(|_| PARTS[random.below(PARTS.len() as u64) as usize]).collect();
            let before = user.clone();
            match user.apply(rule.as_bytes(), Some(1)) {
                Ok(()) => parsed += 1,
                Err(_) => user = before,
            }
        }
        let mut bytes = Vec::new();
        user.write(&mut bytes);
        let read = User::read(b"u", &mut Reader::new(&bytes)).unwrap();
        assert_eq!((read.rules(), &read.passwords), (user.rules(), &user.passwords));
        assert!(read.root.commands.grants_as(&user.root.commands), "{:?}", user.rules());
    }
    assert!(parsed > 2_000, "only {parsed} rules parsed");
}

#[test]
fn damaged_users_are_refused() {
    let mut bytes = Vec::new();
    user("on >pw ~k +@all -get (+set ~b)").write(&mut bytes);
    for end in 0..bytes.len() {
        assert!(User::read(b"u", &mut Reader::new(&bytes[..end])).is_err(), "{end}");
    }
    bytes[0] = 9;
    assert!(User::read(b"u", &mut Reader::new(&bytes)).is_err());
}

#[test]
fn passwords_and_tokens_let_in_whom_they_belong_to() {
    let mut bench = Bench::new();
    bench.hub.database = 7;
    let text = |reply: Reply| match reply {
        Reply::Bulk(text) => String::from_utf8(text.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let token = text(bench.run("ACL GENTOKEN u"));
    let strong = "correct-horse-Battery-staple";
    let wrapping = text(bench.run(&format!("ACL GENTOKEN u {strong}")));
    assert!(bench.error("ACL GENTOKEN u secret").starts_with("ERR weak password"));
    assert_eq!(bench.run(&format!("ACL SETUSER u on >{token} >{wrapping} >weak")), Reply::OK);
    let issued = text(bench.run("ACL RESTTOKEN u weak"));
    assert_eq!(text(bench.run(&format!("ACL RESTTOKEN u {token}"))), token, "it is one already");
    for wrong in ["u nope", "nobody weak", "default weak"] {
        let (name, _) = wrong.split_once(' ').unwrap();
        let error = format!("ERR Wrong password or user \"{name}\" does not exist");
        assert_eq!(bench.error(&format!("ACL RESTTOKEN {wrong}")), error);
    }

    let bearer = |bench: &Bench, text: &str| {
        let token = Token::read(text.as_bytes()).unwrap();
        bench.hub.users.get(b"u").is_some_and(|user| user.opens_with(&token))
    };
    let password = |bench: &Bench, text: &str| bench.hub.users.get(b"u").unwrap().opens(7, text.as_bytes());
    let forged = Token { database: 7, user: Blob::from(b"u".as_slice()), secret: b"weak".to_vec() }.text();
    for (given, as_password, as_bearer) in
        [(&token, true, true), (&wrapping, true, true), (&issued, true, true), (&forged, true, false)]
    {
        assert_eq!((password(&bench, given), bearer(&bench, given)), (as_password, as_bearer), "{given}");
    }
    assert!(password(&bench, strong) && password(&bench, "weak") && !password(&bench, "wea"));

    bench.run("ACL SETUSER u off");
    assert!(!password(&bench, "weak") && !bearer(&bench, &token) && !bearer(&bench, &issued));
    bench.run("ACL SETUSER u on <weak");
    assert!(!bearer(&bench, &issued), "it goes with its password");
    assert!(bearer(&bench, &token));
    bench.run(&format!("ACL SETUSER u <{wrapping}"));
    assert!(!password(&bench, strong) && !bearer(&bench, &wrapping));
    bench.run("ACL SETUSER u resetpass");
    assert!(!bearer(&bench, &token));
}

#[test]
fn what_is_no_token_is_not_read_as_one() {
    let token = Token { database: 1, user: Blob::from(b"user".as_slice()), secret: b"secret".to_vec() };
    let text = token.text();
    assert_eq!(Token::read(text.as_bytes()), Some(token));
    for end in 0..text.len() {
        let read = Token::read(&text.as_bytes()[..end]);
        assert!(read.is_none_or(|token| token.secret != b"secret"), "{end}");
    }
    for other in ["", "A", "AQ", "AQAAAAE", "password", "AQAAAAH______w", &"A".repeat(10_000)] {
        assert_eq!(Token::read(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn users_and_what_they_hold_are_bounded() {
    let mut bench = Bench::new();
    (bench.hub.limits.users_max, bench.hub.limits.user_bytes_max) = (2, 1_000);
    assert_eq!(bench.run("ACL SETUSER a"), Reply::OK);
    assert_eq!(bench.run("ACL SETUSER b"), Reply::OK);
    assert_eq!(bench.error("ACL SETUSER c"), "ERR max number of users exceeded. Limit: 2");
    assert_eq!(bench.run("ACL SETUSER a on"), Reply::OK);
    let long = format!("ACL SETUSER a ~{}", "k".repeat(1_000));
    assert_eq!(bench.error(&long), "ERR max size of a user's rules exceeded. Limit: 1000 bytes");
    let many: Vec<String> = (0..101).map(|n| format!(">{n}")).collect();
    assert!(
        bench.error(&format!("ACL SETUSER a {}", many.join(" "))).ends_with("A user can have at most 100 passwords")
    );
    let name = "n".repeat(257);
    assert_eq!(bench.error(&format!("ACL SETUSER {name}")), "ERR Usernames can't be longer than 256 bytes");
    bench.hub.limits.user_bytes_max = 64 << 10;
    bench.run("ACL SETUSER a on >pw");
    for _ in 0..100 {
        assert!(matches!(bench.run("ACL RESTTOKEN a pw"), Reply::Bulk(_)));
    }
    assert!(bench.error("ACL RESTTOKEN a pw").starts_with("ERR max number of tokens exceeded. Limit: 100."));
}

#[test]
fn an_id_is_used_once() {
    let mut bench = Bench::new();
    bench.run("ACL SETUSER u");
    let first = bench.hub.users.get(b"u").unwrap().id;
    bench.run("ACL SETUSER u on");
    bench.run("ACL SETUSER u reset");
    assert_eq!(bench.hub.users.get(b"u").unwrap().id, first, "the same user, changed");
    bench.run("ACL DELUSER u");
    assert!(bench.hub.users.of(first).is_none());
    bench.run("ACL SETUSER u");
    assert!(bench.hub.users.of(first).is_none(), "another of that name");
}

#[test]
fn emptying_the_database_leaves_its_users() {
    let mut bench = Bench::new();
    bench.run("ACL SETUSER u on");
    bench.run("FLUSHALL");
    assert_eq!(bench.run("ACL USERS"), Reply::bulks(["default", "default_ro", "u"].map(|name| name.as_bytes().into())));
}

#[test]
fn the_log_counts_and_is_bounded() {
    let mut log = AclLog::default();
    let client = String::new;
    let denied = |log: &mut AclLog, key: &str, now_ms| {
        log.denied(&Denial::Key(Blob::from(key.as_bytes())), "get", Context::TopLevel, b"u", client(), now_ms);
    };
    let counts = |log: &AclLog| match log.latest(usize::MAX, 100_000) {
        Reply::Array(entries) => entries
            .into_iter()
            .map(|entry| match entry {
                Reply::Map(fields) => match fields[0].1 {
                    Reply::Integer(count) => count,
                    _ => panic!(),
                },
                _ => panic!(),
            })
            .collect::<Vec<_>>(),
        _ => panic!(),
    };
    denied(&mut log, "a", 0);
    denied(&mut log, "b", 1);
    denied(&mut log, "a", 60_000);
    assert_eq!(counts(&log), [2, 1]);
    denied(&mut log, "a", 60_001);
    assert_eq!(counts(&log), [1, 2, 1], "a minute later it is news");
    for n in 0..200 {
        denied(&mut log, &n.to_string(), 0);
    }
    assert_eq!(counts(&log).len(), 128);
    log.clear();
    assert!(counts(&log).is_empty());
}

#[test]
fn the_two_users_of_every_database_are_what_their_tokens_may() {
    let users = Users::default();
    let (full, read_only) = (users.find(b"default").unwrap(), users.find(b"default_ro").unwrap());
    for place in table::places().iter().filter(|place| place.command.subcommands.is_empty()) {
        let granted = |user: &User| user.root.commands.permits(place.command, &[]) || place.command.is_no_auth();
        assert!(granted(&full), "{}", place.name());
        assert_eq!(granted(&read_only), place.command.permits(Grant::ReadOnly), "{}", place.name());
    }
}

#[test]
fn strong_passwords_are_long_or_varied() {
    for (password, strong) in [
        ("", false),
        ("password", false),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ("Tr0ub4dor&3", false),
        ("0123456789012345678901234", false),
        ("012345678901234567890123456789", true),
        ("correct horse battery staple", true),
        ("aB3$dE6&gH9(jK2#", true),
    ] {
        assert_eq!(is_strong(password.as_bytes()), strong, "{password}");
    }
}
