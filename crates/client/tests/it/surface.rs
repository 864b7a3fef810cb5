//! Every command of the server has a method, or is named here with the reason why not; and none is taken for a read that writes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dormouse_client::{TestServer, Value};

/// Commands that have no method of their own.
const LEFT_TO_COMMAND: &[(&str, &str)] = &[
    ("a newer command's method says the same", "EXPIRE EXPIREAT EXPIRETIME TTL HEXPIRE HEXPIREAT HEXPIRETIME HTTL"),
    ("an older name", "SETNX SETEX PSETEX GETSET SUBSTR HMSET RPOPLPUSH BRPOPLPUSH SLAVEOF REPLICAOF"),
    ("an older name", "ZRANGEBYSCORE ZRANGEBYLEX ZREVRANGE ZREVRANGEBYSCORE ZREVRANGEBYLEX JSON.FORGET"),
    ("an older name", "GEORADIUS GEORADIUS_RO GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO"),
    (
        "it needs a connection",
        "AUTH HELLO QUIT RESET MULTI EXEC DISCARD WATCH UNWATCH MONITOR ASKING READONLY READWRITE",
    ),
    ("it needs a connection", "SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE"),
    (
        "it needs a connection, or is for operators",
        "CLIENT SELECT SWAPDB MOVE MIGRATE CLUSTER FAILOVER SHUTDOWN DEBUG MODULE",
    ),
    (
        "it is for operators",
        "SAVE BGSAVE BGREWRITEAOF LATENCY LOLWUT PFDEBUG PFSELFTEST SYNC PSYNC REPLCONF XIDMPRECORD",
    ),
    (
        "it is for operators",
        "MEMORY|DOCTOR MEMORY|MALLOC-STATS MEMORY|PURGE MEMORY|STATS CONFIG|RESETSTAT CONFIG|REWRITE",
    ),
    (
        "it is for operators",
        "ACL|LOAD ACL|SAVE ACL|GENTOKEN COMMAND|DOCS COMMAND|INFO COMMAND|GETKEYSANDFLAGS SCRIPT|DEBUG",
    ),
];

/// Names in the sources, and whether each is said to read.
fn methods() -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands");
    for file in std::fs::read_dir(sources).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for (call, reads) in [("self.read", true), ("self.write", false)] {
            for piece in text.split(call).skip(1) {
                let Some(name) = piece.split_once("(\"").and_then(|(_, rest)| rest.split_once("\")")) else { continue };
                let before = found.insert(name.0.replace(' ', "|"), reads);
                assert!(before.is_none_or(|before| before == reads), "{} reads and writes", name.0);
            }
        }
    }
    found
}

/// Names of the server's table, with their flags. A command with parts is those.
fn table(entries: Vec<Vec<Value>>) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for entry in entries {
        let name: String = entry[0].clone().to().unwrap();
        let parts: Vec<Vec<Value>> = entry[9].clone().to().unwrap();
        if parts.is_empty() || entry[1] == Value::Int(-1) {
            all.insert(name.to_uppercase(), entry[2].clone().to().unwrap());
        }
        all.extend(table(parts));
    }
    all
}

#[tokio::test]
async fn every_command_has_a_method_or_a_reason() {
    let server = TestServer::start().unwrap();
    let table = table(server.client().command("COMMAND").await.unwrap());
    let methods = methods();
    let left: BTreeSet<&str> = LEFT_TO_COMMAND.iter().flat_map(|(_, names)| names.split(' ')).collect();
    let is_left =
        |name: &str| left.contains(name) || name.split_once('|').is_some_and(|(whole, _)| left.contains(whole));
    let missing: Vec<_> = table
        .keys()
        .filter(|name| !methods.contains_key(*name) && !is_left(name) && !name.ends_with("|HELP"))
        .filter(|name| *name != "COMMAND")
        .collect();
    assert!(missing.is_empty(), "neither a method nor a reason: {missing:?}");
    for (name, reads) in &methods {
        let flags = table.get(name).unwrap_or_else(|| panic!("{name} is not the server's"));
        assert!(!reads || !flags.contains("write"), "{name} is said to read");
        assert!(*reads || !flags.contains("readonly"), "{name} could be repeated");
    }
    assert!(methods.len() > 180, "{}", methods.len());
}
