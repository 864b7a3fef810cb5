//! `CLIENT` for operators and libraries: ending, pausing and silencing connections.
//!
//! A handler only says what is to become of others (`Hub::killed`, `Hub::pause`): sockets belong to the layers
//! above.

use dormouse_proto::{Args, CommandError, Reply, parse_integer};

use crate::args::is;
use crate::client::{Client, ClientId, Replies};
use crate::hub::Pause;
use crate::txn::{Outcome, Txn};
use crate::types::connection::Shown;
use crate::types::standalone::help_of;

/// Longest pause, in milliseconds: nobody is left waiting for ever by a client that has gone.
const PAUSE_MS_MAX: u64 = 600_000;

/// The clients that `CLIENT KILL` means.
struct Filter<'a> {
    id: Option<ClientId>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    shown: Option<Shown>,
    max_age_s: Option<u64>,
    skips_me: bool,
}

impl<'a> Filter<'a> {
    const NONE: Self =
        Self { id: None, address: None, local_address: None, user: None, shown: None, max_age_s: None, skips_me: true };

    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut filter = Self::NONE;
        let mut rest = args;
        while let [word, value, after @ ..] = rest {
            rest = after;
            match () {
                () if is(word, "ID") => {
                    let id = parse_integer(value).filter(|id| *id > 0);
                    let id = id.ok_or(CommandError::text("ERR client-id should be greater than 0"))?;
                    filter.id = Some(ClientId(id as u64));
                }
                () if is(word, "TYPE") => filter.shown = Some(Shown::of_type(value)?),
                () if is(word, "ADDR") => filter.address = Some(value),
                () if is(word, "LADDR") => filter.local_address = Some(value),
                () if is(word, "USER") => filter.user = Some(value),
                () if is(word, "MAXAGE") => {
                    let age = parse_integer(value);
                    let age = age.ok_or(CommandError::text("ERR maxage is not an integer or out of range"))?;
                    if age <= 0 {
                        return Err(CommandError::text("ERR maxage should be greater than 0"));
                    }
                    filter.max_age_s = Some(age as u64);
                }
                () if is(word, "SKIPME") && is(value, "YES") => filter.skips_me = true,
                () if is(word, "SKIPME") && is(value, "NO") => filter.skips_me = false,
                () => return Err(CommandError::Syntax),
            }
        }
        if rest.is_empty() { Ok(filter) } else { Err(CommandError::Syntax) }
    }

    fn means(&self, client: &Client, me: ClientId, now_ms: u64) -> bool {
        let is = |wanted: Option<&[u8]>, found: &str| wanted.is_none_or(|wanted| wanted == found.as_bytes());
        (!self.skips_me || client.id != me)
            && self.id.is_none_or(|id| client.id == id)
            && is(self.address, &client.address)
            && is(self.local_address, &client.local_address)
            && self.user.is_none_or(|user| user == client.user.as_slice())
            && self.shown.as_ref().is_none_or(|shown| shown.includes(client))
            && self.max_age_s.is_none_or(|age| now_ms.saturating_sub(client.since_ms) / 1_000 >= age)
    }
}

/// `CLIENT KILL addr:port`, or filters.
pub(super) fn kill(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (old, filter) = match &args[2..] {
        [address] => (true, Filter { address: Some(address), skips_me: false, ..Filter::NONE }),
        filters => (false, Filter::parse(filters)?),
    };
    let (now_ms, me) = (txn.now_ms(), txn.client().clone());
    if let Some(user) = filter.user
        && txn.hub().users.find(user).is_none()
    {
        let user = String::from_utf8_lossy(&user[..user.len().min(64)]).into_owned();
        return Err(CommandError::from(format!("ERR No such user '{user}'")).into());
    }
    let others = txn.hub().clients.values().filter(|client| client.id != me.id);
    let meant: Vec<ClientId> =
        others.chain([&me]).filter(|client| filter.means(client, me.id, now_ms)).map(|client| client.id).collect();
    let others = meant.iter().copied().filter(|id| *id != me.id);
    txn.hub().killed.extend(others);
    if meant.contains(&me.id) {
        // It still gets its reply.
        txn.client().closing = true;
    }
    match (old, meant.len()) {
        (true, 0) => Err(CommandError::text("ERR No such client").into()),
        (true, _) => Ok(Reply::OK),
        (false, count) => Ok(Reply::count(count)),
    }
}

pub(super) fn pause(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let timeout = parse_integer(args[2]).ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let writes_only = match &args[3..] {
        [] => false,
        [word] if is(word, "ALL") => false,
        [word] if is(word, "WRITE") => true,
        _ => return Err(CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL").into()),
    };
    let until_ms = txn.now_ms() + timeout.min(PAUSE_MS_MAX);
    // As in Redis, a second pause makes the first longer or stricter, never shorter.
    let now_ms = txn.now_ms();
    let before = txn.hub().pause.filter(|pause| pause.until_ms > now_ms);
    txn.hub().pause = Some(before.map_or(Pause { until_ms, writes_only }, |before| Pause {
        until_ms: before.until_ms.max(until_ms),
        writes_only: before.writes_only && writes_only,
    }));
    Ok(Reply::OK)
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
pub(super) fn unpause(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.hub().pause = None;
    Ok(Reply::OK)
}

pub(super) fn reply(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    txn.client().replies = match args[2] {
        word if is(word, "ON") => Replies::On,
        word if is(word, "OFF") => Replies::Off,
        // Once off, only ON brings them back.
        word if is(word, "SKIP") && txn.client().replies == Replies::Off => Replies::Off,
        word if is(word, "SKIP") => Replies::Skip(2),
        _ => return Err(CommandError::Syntax.into()),
    };
    Ok(Reply::OK)
}

pub(super) fn help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Door, Grant};
    use crate::testing::Bench;

    #[test]
    fn filters_find_who_is_meant() {
        let mut bench = Bench::new();
        for (id, address) in [(5, "1.2.3.4:5"), (6, "1.2.3.4:6")] {
            let mut client = Client::new(ClientId(id), Door::Resp, Grant::ReadOnly);
            client.address = address.to_owned();
            client.since_ms = bench.now_us / 1_000 - id * 1_000;
            bench.hub.clients.insert(client.id, client);
        }
        for (line, killed) in [
            ("CLIENT KILL ID 5", &[5][..]),
            ("CLIENT KILL ADDR 1.2.3.4:6", &[6]),
            ("CLIENT KILL ADDR 1.2.3.4:6 ID 5", &[]),
            ("CLIENT KILL USER default_ro", &[5, 6]),
            ("CLIENT KILL USER default", &[]),
            ("CLIENT KILL TYPE normal", &[5, 6]),
            ("CLIENT KILL TYPE pubsub", &[]),
            ("CLIENT KILL MAXAGE 6", &[6]),
        ] {
            // Each command of the bench runs twice; the second time counts.
            let reply = bench.run(line);
            let ids: std::collections::BTreeSet<u64> = bench.hub.killed.drain(..).map(|id| id.0).collect();
            assert_eq!(ids.into_iter().collect::<Vec<_>>(), killed, "{line}");
            assert_eq!(reply, Reply::count(killed.len()), "{line}");
        }
        assert!(!bench.client.closing);
        assert_eq!(bench.run("CLIENT KILL USER default SKIPME no"), Reply::Integer(1));
        assert!(bench.client.closing);
        assert_eq!(bench.error("CLIENT KILL 9.9.9.9:9"), "ERR No such client");
        assert_eq!(bench.error("CLIENT KILL USER nobody"), "ERR No such user 'nobody'");
        assert_eq!(bench.run("CLIENT KILL 1.2.3.4:5"), Reply::OK);
    }

    #[test]
    fn a_second_pause_is_never_shorter_or_laxer() {
        let mut bench = Bench::new();
        let now_ms = bench.now_us / 1_000;
        bench.run("CLIENT PAUSE 500");
        bench.run("CLIENT PAUSE 100 WRITE");
        assert_eq!(bench.hub.pause, Some(Pause { until_ms: now_ms + 500, writes_only: false }));
        bench.run("CLIENT PAUSE 99999999999");
        assert_eq!(bench.hub.pause, Some(Pause { until_ms: now_ms + PAUSE_MS_MAX, writes_only: false }));
        bench.run("CLIENT UNPAUSE");
        assert_eq!(bench.hub.pause, None);
    }
}
