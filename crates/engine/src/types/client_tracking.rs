//! `CLIENT TRACKING` and kin: a connection says that it keeps what it reads, and how it wants to hear of changes.
//!
//! What follows from that is in `tracking.rs`. The settings are in the client, where commands find them; the table has a
//! copy of what it needs to tell others' changes.

use std::collections::BTreeSet;

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::args::is;
use crate::client::ClientId;
use crate::tracking::{Mode, Tracking};
use crate::txn::{Outcome, Txn};

/// Most prefixes one client may have: each change of a key is compared with all of them.
const PREFIXES_MAX: usize = 1_000;

/// What follows `ON` or `OFF`.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the command")]
struct Asked<'a> {
    redirect: Option<ClientId>,
    broadcast: bool,
    opt_in: bool,
    opt_out: bool,
    no_loop: bool,
    prefixes: Vec<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn parse(txn: &mut Txn<'_>, args: Args<'a>) -> Result<Self, CommandError> {
        let mut asked = Self::default();
        let mut rest = args;
        while let [word, after @ ..] = rest {
            rest = after;
            match (word, after) {
                (word, [id, after @ ..]) if is(word, "REDIRECT") => {
                    rest = after;
                    if asked.redirect.is_some() {
                        return Err(CommandError::text("ERR A client can only redirect to a single other client"));
                    }
                    let id = parse_integer(id).ok_or(CommandError::NotAnInteger)?;
                    let id = ClientId(id as u64);
                    if id != txn.client().id && !txn.hub().clients.contains_key(&id) {
                        return Err(CommandError::text("ERR The client ID you want redirect to does not exist"));
                    }
                    asked.redirect = Some(id);
                }
                (word, [prefix, after @ ..]) if is(word, "PREFIX") => {
                    rest = after;
                    asked.prefixes.push(prefix);
                }
                (word, _) if is(word, "BCAST") => asked.broadcast = true,
                (word, _) if is(word, "OPTIN") => asked.opt_in = true,
                (word, _) if is(word, "OPTOUT") => asked.opt_out = true,
                (word, _) if is(word, "NOLOOP") => asked.no_loop = true,
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(asked)
    }

    const fn mode(&self) -> Mode {
        match (self.broadcast, self.opt_in, self.opt_out) {
            (true, ..) => Mode::Broadcast,
            (_, true, _) => Mode::OptIn,
            (.., true) => Mode::OptOut,
            _ => Mode::Reads,
        }
    }

    /// Whether all of it goes together, and with what is set already.
    fn check(&self, before: Option<&Tracking>) -> Result<(), CommandError> {
        const SWITCH_BROADCAST: &str = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, \
                                        and then re-enabling it with a different mode.";
        const SWITCH_OPT: &str = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and \
                                  then re-enabling it with a different mode.";
        let before = before.map(|before| before.mode);
        let switches = before.is_some_and(|before| (before == Mode::Broadcast) != self.broadcast);
        Err(CommandError::text(match () {
            () if !self.broadcast && !self.prefixes.is_empty() => "ERR PREFIX option requires BCAST mode to be enabled",
            () if switches => SWITCH_BROADCAST,
            () if self.broadcast && (self.opt_in || self.opt_out) => {
                "ERR OPTIN and OPTOUT are not compatible with BCAST"
            }
            () if self.opt_in && self.opt_out => "ERR You can't specify both OPTIN mode and OPTOUT mode",
            () if self.opt_in && before == Some(Mode::OptOut) => SWITCH_OPT,
            () if self.opt_out && before == Some(Mode::OptIn) => SWITCH_OPT,
            () => return Ok(()),
        }))
    }

    /// The client's prefixes with those that are new; an error if two of them mean the same key.
    fn join_prefixes(&self, mut prefixes: BTreeSet<Blob>) -> Result<BTreeSet<Blob>, CommandError> {
        let overlaps = |one: &[u8], other: &[u8]| one.starts_with(other) || other.starts_with(one);
        let refuse = |one: &[u8], which: &str, other: &[u8]| {
            let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
            Err(CommandError::from(format!(
                "ERR Prefix '{one}' overlaps with {which} prefix '{other}'. Prefixes for a single client must not overlap."
            )))
        };
        for (at, prefix) in self.prefixes.iter().enumerate() {
            if let Some(other) = prefixes.iter().find(|other| overlaps(prefix, other)) {
                return refuse(prefix, "an existing", other);
            }
            if let Some(other) = self.prefixes[at + 1..].iter().find(|other| overlaps(prefix, other)) {
                return refuse(prefix, "another provided", other);
            }
        }
        if prefixes.len() + self.prefixes.len() > PREFIXES_MAX {
            return Err(CommandError::from(format!("ERR a client may have {PREFIXES_MAX} prefixes")));
        }
        prefixes.extend(self.prefixes.iter().map(|&prefix| Blob::from(prefix)));
        if self.broadcast && self.prefixes.is_empty() {
            prefixes.insert(Blob::new());
        }
        Ok(prefixes)
    }
}

pub(super) fn tracking(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let asked = Asked::parse(txn, &args[3..])?;
    match args[2] {
        word if is(word, "ON") => {
            let before = txn.client().tracking.as_deref();
            asked.check(before)?;
            let before = before.map(|before| (before.caching, before.prefixes.clone()));
            let (caching, prefixes) = before.unwrap_or_default();
            let prefixes = asked.join_prefixes(prefixes)?;
            let (mode, redirect, no_loop) = (asked.mode(), asked.redirect, asked.no_loop);
            txn.track(Some(Tracking { mode, redirect, no_loop, caching, prefixes }));
        }
        word if is(word, "OFF") => txn.track(None),
        _ => return Err(CommandError::Syntax.into()),
    }
    Ok(Reply::OK)
}

pub(super) fn caching(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let Some(tracking) = txn.client().tracking.as_mut() else {
        return Err(CommandError::text(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        )
        .into());
    };
    match args[2] {
        word if is(word, "YES") && tracking.mode != Mode::OptIn => {
            Err(CommandError::text("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
                .into())
        }
        word if is(word, "NO") && tracking.mode != Mode::OptOut => {
            Err(CommandError::text("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
                .into())
        }
        word if is(word, "YES") || is(word, "NO") => {
            tracking.caching = true;
            Ok(Reply::OK)
        }
        _ => Err(CommandError::Syntax.into()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
pub(super) fn info(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let id = txn.client().id;
    let broken = txn.hub().tracking.is_broken(id);
    let tracking = txn.client().tracking.as_deref();
    let mut flags = vec![if tracking.is_some() { "on" } else { "off" }];
    if let Some(Tracking { mode, no_loop, caching, .. }) = tracking {
        match mode {
            Mode::Reads => {}
            Mode::Broadcast => flags.push("bcast"),
            Mode::OptIn => flags.extend(["optin"].into_iter().chain(caching.then_some("caching-yes"))),
            Mode::OptOut => flags.extend(["optout"].into_iter().chain(caching.then_some("caching-no"))),
        }
        flags.extend(no_loop.then_some("noloop"));
        flags.extend(broken.then_some("broken_redirect"));
    }
    let prefixes = tracking.into_iter().flat_map(|tracking| &tracking.prefixes);
    Ok(Reply::Map(vec![
        (Reply::bulk("flags"), Reply::Set(flags.into_iter().map(Reply::bulk).collect())),
        (Reply::bulk("redirect"), Reply::Integer(redirected_to(tracking))),
        (Reply::bulk("prefixes"), Reply::Set(prefixes.map(|prefix| Reply::Bulk(prefix.clone())).collect())),
    ]))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
pub(super) fn redirection(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Integer(redirected_to(txn.client().tracking.as_deref())))
}

fn redirected_to(tracking: Option<&Tracking>) -> i64 {
    tracking.map_or(-1, |tracking| tracking.redirect.map_or(0, |id| id.0 as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_reading_client_is_remembered_and_a_scripts_commands_count() {
        let mut bench = Bench::new();
        bench.run("CLIENT TRACKING ON");
        let mut remembered = |args: &[&[u8]]| {
            bench.run_args(args);
            let touched = std::mem::take(&mut bench.touched);
            let read = |touched: &crate::txn::Touched| match touched {
                crate::txn::Touched::Read(key) => Some(String::from_utf8_lossy(key).into_owned()),
                _ => None,
            };
            touched.iter().filter_map(read).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(remembered(&[b"MGET", b"a", b"b"]), "a b");
        assert_eq!(remembered(&[b"SET", b"a", b"1"]), "");
        assert_eq!(remembered(&[b"LRANGE", b"a", b"0", b"1"]), "a", "an error may tell something, too");
        assert_eq!(remembered(&[b"EVAL", b"redis.call('GET', 'c') redis.call('SET', 'd', 1)", b"1", b"e"]), "c");
        assert_eq!(remembered(&[b"EVAL_RO", b"return redis.call('GET', 'c')", b"1", b"e"]), "c");
    }

    #[test]
    fn prefixes_are_bounded() {
        let mut bench = Bench::new();
        let names: Vec<String> = (0..PREFIXES_MAX).map(|at| format!("PREFIX {at:04}")).collect();
        assert_eq!(bench.run(&format!("CLIENT TRACKING ON BCAST {}", names.join(" "))), Reply::OK);
        assert_eq!(bench.error("CLIENT TRACKING ON BCAST PREFIX x"), "ERR a client may have 1000 prefixes");
    }
}
