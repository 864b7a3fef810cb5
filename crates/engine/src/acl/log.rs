//! What was refused lately, for `ACL LOG`: kept in memory alone, like Redis's.
//!
//! The same refusal again within a minute is counted, not listed twice, so that one busy client does not push out what
//! others did.

use std::collections::VecDeque;

use dormouse_proto::{Blob, Reply};

use super::Denial;

/// Entries that are kept unless told otherwise; the oldest go first (Redis's `acllog-max-len`).
const ENTRIES: usize = 128;
/// Most entries that may be asked for.
const ENTRIES_MAX: usize = 1_000;
/// How long the same refusal is counted with the one before.
const SAME_WITHIN_MS: u64 = 60_000;
/// How much of a key, a channel or a name an entry shows, in bytes.
const SHOWN_BYTES_MAX: usize = 1_024;

/// Where a command came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Context {
    TopLevel,
    Multi,
    Script,
}

impl Context {
    const fn name(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Multi => "multi",
            Self::Script => "lua",
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    id: u64,
    count: i64,
    reason: &'static str,
    context: Context,
    object: Blob,
    user: Blob,
    client: String,
    created_ms: u64,
    updated_ms: u64,
}

/// See the module's text.
#[derive(Clone, Debug)]
pub(crate) struct AclLog {
    /// The latest first.
    entries: VecDeque<Entry>,
    entries_max: usize,
    next_id: u64,
}

impl Default for AclLog {
    fn default() -> Self {
        Self { entries: VecDeque::new(), entries_max: ENTRIES, next_id: 0 }
    }
}

impl AclLog {
    /// Keeps so many entries from now on.
    pub(crate) fn keep(&mut self, entries_max: usize) {
        self.entries_max = entries_max.min(ENTRIES_MAX);
        self.entries.truncate(self.entries_max);
    }

    /// Notes that a command was refused; `command` is its full name.
    pub(crate) fn denied(
        &mut self,
        denial: &Denial,
        command: &str,
        context: Context,
        user: &[u8],
        client: String,
        now_ms: u64,
    ) {
        let (reason, object) = match denial {
            Denial::Command => ("command", command.as_bytes()),
            Denial::Key(key) => ("key", key.as_slice()),
            Denial::Channel(channel) => ("channel", channel.as_slice()),
        };
        self.note(reason, object, context, user, client, now_ms);
    }

    /// Notes that somebody gave a wrong password, by `AUTH` or `HELLO`.
    pub(crate) fn not_let_in(&mut self, command: &str, user: &[u8], client: String, now_ms: u64) {
        self.note("auth", command.as_bytes(), Context::TopLevel, user, client, now_ms);
    }

    fn note(
        &mut self,
        reason: &'static str,
        object: &[u8],
        context: Context,
        user: &[u8],
        client: String,
        now_ms: u64,
    ) {
        let short = |text: &[u8]| Blob::from(&text[..text.len().min(SHOWN_BYTES_MAX)]);
        let (object, user) = (short(object), short(user));
        let same = |entry: &Entry| {
            (entry.reason, entry.context, &entry.object, &entry.user) == (reason, context, &object, &user)
                && now_ms.saturating_sub(entry.created_ms) <= SAME_WITHIN_MS
        };
        if let Some(at) = self.entries.iter().position(same)
            && let Some(mut entry) = self.entries.remove(at)
        {
            entry.count += 1;
            (entry.updated_ms, entry.client) = (now_ms, client);
            self.entries.push_front(entry);
            return;
        }
        let (id, created_ms, updated_ms) = (self.next_id, now_ms, now_ms);
        self.next_id += 1;
        self.entries.push_front(Entry { id, count: 1, reason, context, object, user, client, created_ms, updated_ms });
        self.entries.truncate(self.entries_max);
    }

    /// The latest entries, as `ACL LOG` shows them.
    pub(crate) fn latest(&self, count: usize, now_ms: u64) -> Reply {
        Reply::Array(self.entries.iter().take(count).map(|entry| entry.reply(now_ms)).collect())
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

impl Entry {
    fn reply(&self, now_ms: u64) -> Reply {
        let fields = [
            ("count", Reply::Integer(self.count)),
            ("reason", Reply::bulk(self.reason)),
            ("context", Reply::bulk(self.context.name())),
            ("object", Reply::Bulk(self.object.clone())),
            ("username", Reply::Bulk(self.user.clone())),
            ("age-seconds", Reply::Double(now_ms.saturating_sub(self.created_ms) as f64 / 1_000.0)),
            ("client-info", Reply::bulk(&self.client)),
            ("entry-id", Reply::Integer(self.id as i64)),
            ("timestamp-created", Reply::Integer(self.created_ms as i64)),
            ("timestamp-last-updated", Reply::Integer(self.updated_ms as i64)),
        ];
        Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
    }
}
