//! `MONITOR`: a client that sees every command the others of its database run.
//!
//! The lines are Redis's: when, which database and client, and the arguments quoted. What a command shows is gathered with
//! its other effects ([`Txn::show`]) and delivered once it has run, so that nobody sees a command whose work was taken back.
//! The operator's own commands are not shown, and passwords never. While nobody looks, a transaction knows that and no more.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use std::fmt::Write as _;

use dormouse_proto::{Args, Blob, Reply};

use crate::client::{Client, Door};
use crate::command::{Command, Group, Run, Session, command};
use crate::moment::Moment;
use crate::txn::{Outcome, Txn};

/// Bytes of one line after which the rest of its arguments is cut.
const LINE_BYTES_MAX: usize = 1 << 20;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    command("MONITOR", 1, monitor).group(Group::Server).admin().no_script().no_rest().no_multi().doc("1.0.0", "Shows every command that is run, until RESET or the end of the connection."),
];

fn monitor(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let id = txn.client().id;
    txn.client().monitoring = true;
    txn.hub().monitors.insert(id);
    Ok(Reply::OK)
}

/// Ends it.
pub(crate) fn forget(txn: &mut Txn<'_>) {
    let client = txn.client();
    let id = client.id;
    client.monitoring = false;
    txn.hub().monitors.remove(&id);
}

/// The line that shows a command.
pub(crate) fn line(moment: Moment, client: &Client, in_script: bool, args: Args<'_>) -> Blob {
    let mut out = String::with_capacity(64 + args.iter().map(|arg| arg.len() + 3).sum::<usize>().min(LINE_BYTES_MAX));
    let source = match client.door {
        _ if in_script => "lua",
        Door::Rest => NO_ADDRESS,
        Door::Resp => &client.address,
    };
    let _ = write!(out, "{}.{:06} [0 {source}]", moment.now_us / 1_000_000, moment.now_us % 1_000_000);
    for arg in args {
        out.push_str(" \"");
        escape(arg, &mut out);
        out.push('"');
    }
    Blob::from(out.into_bytes())
}

/// The line that shows a command which runs outside of any transaction.
pub fn monitor_line(moment: Moment, client: &Client, args: Args<'_>) -> Blob {
    line(moment, client, false, args)
}

/// Where a request over HTTP comes from: its connection serves others, too.
pub(crate) const NO_ADDRESS: &str = "0.0.0.0:0";

fn escape(arg: &[u8], out: &mut String) {
    for &byte in arg {
        if out.len() > LINE_BYTES_MAX {
            out.push_str("...");
            return;
        }
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
}

/// Parameters whose values are nobody's to see.
const SECRETS: [&[u8]; 5] =
    [b"requirepass", b"masterauth", b"masteruser", b"tls-key-file-pass", b"tls-client-key-file-pass"];

/// Arguments that may be shown: of commands that carry a password, without it. Of commands that say so all are left out.
/// `AUTH` is nothing else, `HELLO` has two words after its own `AUTH` and `MIGRATE` one, or two after `AUTH2`; and of some
/// parameters the values are secret.
pub fn redacted<'a>(command: &Command, args: Args<'a>) -> Vec<&'a [u8]> {
    const REDACTED: &[u8] = b"(redacted)";
    let mut shown = args.to_vec();
    let is_hello = matches!(command.run, Run::Session(Session::Hello));
    let from = if matches!(command.run, Run::Session(Session::Auth)) {
        1..shown.len()
    } else if command.takes_a_secret() {
        2.min(shown.len())..shown.len()
    } else {
        let find = |name: &[u8]| args.iter().position(|word| word.eq_ignore_ascii_case(name));
        let (auth, words) = match (find(b"AUTH2"), find(b"AUTH")) {
            (Some(at), _) => (at + 1, 2),
            (None, Some(at)) => (at + 1, if is_hello { 2 } else { 1 }),
            (None, None) if command.is_admin() => {
                let secret = args.iter().position(|word| SECRETS.iter().any(|name| word.eq_ignore_ascii_case(name)));
                secret.map_or((0, 0), |at| (at + 1, 1))
            }
            (None, None) => (0, 0),
        };
        auth.min(shown.len())..(auth + words).min(shown.len())
    };
    shown[from].fill(REDACTED);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_line_is_what_redis_prints() {
        let client = Client { address: "1.2.3.4:5".to_owned(), ..Client::default() };
        let moment = Moment { now_us: 1_795_439_706_000_042, seed: 1 };
        let text =
            |client: &Client, script, args| String::from_utf8(line(moment, client, script, args).to_vec()).unwrap();
        assert_eq!(
            text(&client, false, &[b"GET", b"a\x00\"b\n\xff\\"]),
            r#"1795439706.000042 [0 1.2.3.4:5] "GET" "a\x00\"b\n\xff\\""#
        );
        assert_eq!(text(&client, true, &[b"get"]), r#"1795439706.000042 [0 lua] "get""#);
        let rest = Client { door: Door::Rest, ..Client::default() };
        assert!(text(&rest, false, &[b"PING"]).contains("[0 0.0.0.0:0]"));
        let long = text(&client, false, &[b"SET", &vec![b'x'; 3 << 20], b"EX"]);
        assert!(long.len() < (1 << 20) + 100 && long.ends_with("...\" \"...\""), "{}", &long[long.len() - 30..]);
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = |args: Args<'_>| {
            let command = crate::table::find(args).unwrap().command;
            redacted(command, args).iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[b"auth", b"me", b"secret"]), ["auth", "(redacted)", "(redacted)"]);
        let hello = shown(&[b"HELLO", b"3", b"auth", b"me", b"secret", b"SETNAME", b"x"]);
        assert_eq!(hello, ["HELLO", "3", "auth", "(redacted)", "(redacted)", "SETNAME", "x"]);
        assert_eq!(shown(&[b"ACL", b"SETUSER", b"me", b">secret"]), ["ACL", "SETUSER", "(redacted)", "(redacted)"]);
        assert_eq!(shown(&[b"HELLO", b"3", b"AUTH", b"me"]), ["HELLO", "3", "AUTH", "(redacted)"]);
    }

    #[test]
    fn reset_ends_it() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("MONITOR"), Reply::OK);
        assert!(bench.client.monitoring && bench.hub.is_monitored());
        bench.run("RESET");
        assert!(!bench.client.monitoring && !bench.hub.is_monitored());
    }
}
