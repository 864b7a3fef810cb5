//! The clients of a database: how they come and go, and what a change of users means for them.
//!
//! What users are and may do is the engine's, and they change under the lock like keys. Sessions look at a copy that is
//! swapped before the lock is let go, so that a check costs no wait, and whoever was told of a change finds it in force.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dormouse_engine::{Client, ClientId, Command, Denial, Grant, Ticket, Users, full_name};
use dormouse_proto::{Blob, CommandError};
use dormouse_storage::Lsn;

use super::{Database, Outbox, Parked, State};

/// Why a client may not run a command. Of the database's own tokens that is said in Upstash's words, of users in Redis's.
pub(crate) fn refused(denial: &Denial, command: &'static Command, client: &Client) -> CommandError {
    match (client.grant, denial) {
        (Grant::User(_), denial) => CommandError::from(format!("NOPERM {}", denial.words(&client.user, command))),
        (_, Denial::Command) => CommandError::NoPermission(full_name(command)),
        (_, Denial::Key(_)) => CommandError::NoKeyPermission,
        (_, Denial::Channel(_)) => CommandError::NoChannelPermission,
    }
}

impl Database {
    /// A client comes: from now on messages for it go to `outbox`.
    pub fn join(&self, client: &Client, outbox: Arc<dyn Outbox>) {
        let client = client.clone();
        self.soon(move |state| {
            state.outboxes.insert(client.id, outbox);
            state.hub.facts.connections += 1;
            state.hub.clients.insert(client.id, client);
        });
    }

    /// A client's line in `CLIENT LIST` has changed.
    pub fn refresh(&self, client: &Client) {
        let client = client.clone();
        self.soon(move |state| drop(state.hub.clients.insert(client.id, client)));
    }

    /// A client has run a command about itself while a long script held the database: what that means for others follows
    /// as soon as the script is done. A watch begins then; until then nobody can look at the key, so it counts as alive.
    pub(crate) fn catch_up_with(&self, before: Client, client: &mut Client) {
        let watched = before.watching.len();
        for (_, was_dead) in client.watching.iter_mut().skip(watched) {
            *was_dead = false;
        }
        let now = client.clone();
        self.soon(move |state| {
            for channel in before.channels.difference(&now.channels) {
                state.hub.unsubscribe(now.id, channel);
            }
            for pattern in before.patterns.difference(&now.patterns) {
                state.hub.unsubscribe_pattern(now.id, pattern);
            }
            for channel in before.shard_channels.difference(&now.shard_channels) {
                state.hub.unsubscribe_shard(now.id, channel);
            }
            if now.tracking.is_none() {
                state.hub.stop_tracking(now.id);
            }
            if !now.monitoring {
                state.hub.monitors.remove(&now.id);
            }
            if now.watching.is_empty() {
                state.hub.unwatch(now.id, before.watching.iter().map(|(key, _)| key));
            }
            for (key, was_dead) in now.watching.iter().skip(watched) {
                state.hub.watch(now.id, key, *was_dead);
            }
            state.hub.clients.insert(now.id, now);
        });
    }

    /// A client's watches end.
    pub fn unwatch(&self, client: ClientId, keys: Vec<(Blob, bool)>) {
        self.soon(move |state| state.hub.unwatch(client, keys.iter().map(|(key, _)| key)));
    }

    /// A client goes, with everything it held.
    pub fn leave(&self, client: &Client) {
        let client = client.clone();
        self.soon(move |state| {
            state.hub.leave(&client);
            state.outboxes.remove(&client.id);
            state.forget_parked(client.id);
        });
    }

    /// Ends the connections of those whose grant is meant.
    pub(crate) fn disconnect(&self, is_meant: impl Fn(Grant) -> bool + Send + 'static) {
        self.soon(move |state| {
            let known = state.hub.clients.values().chain(state.parked.values().map(|parked| &parked.client));
            let meant: BTreeSet<ClientId> =
                known.filter(|client| is_meant(client.grant)).map(|client| client.id).collect();
            for id in meant {
                state.cut_off(id);
            }
        });
    }

    /// It was deleted: nobody runs anything on it any more.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.disconnect(|_| true);
        // Whoever still holds it runs nothing there.
        self.memory.forget(&self.told_bytes);
    }

    /// Its users, as they are now.
    pub fn users(&self) -> Arc<Users> {
        Arc::clone(&self.users.read().0)
    }

    /// What must be on disk before anybody may be told what a user is.
    pub(crate) fn users_after(&self) -> Lsn {
        self.users.read().1
    }

    /// Notes for `ACL LOG` that a client was refused a command. Not while a long script holds the database: refusals must
    /// not pile up meanwhile.
    pub(crate) fn note_denial(&self, denial: &Denial, command: &'static Command, client: &Client) {
        if let Some(mut state) = self.hold() {
            state.hub.note_denial(denial, command, client, client.transaction.is_some(), client.active_ms);
        }
    }

    /// Counts a command that was refused before it ran; none if there is no such command. As [`Self::note_denial`].
    pub(crate) fn note_rejected(&self, command: Option<&'static Command>, error: &CommandError) {
        if let Some(mut state) = self.hold() {
            state.hub.count_rejected(command, error);
        }
    }

    /// Counts a command that ran without the lock.
    pub(crate) fn note_ran(&self, command: &'static Command, error: Option<CommandError>) {
        self.soon(move |state| state.hub.count_elsewhere(command, error.as_ref()));
    }

    /// Notes for `ACL LOG` that a client gave a wrong password; as [`Self::note_denial`].
    pub(crate) fn note_wrong_password(&self, command: &'static str, user: &[u8], client: &Client) {
        if let Some(mut state) = self.hold() {
            state.hub.note_wrong_password(command, user, client, client.active_ms);
        }
    }

    /// Users have changed: whoever checks clients learns of it, and those who are users no more, or listen to what they may
    /// no longer hear, are cut off.
    pub(super) fn review_clients(&self, state: &mut State, me: &mut Client, after: Lsn) {
        *self.users.write() = (Arc::clone(&state.hub.users), after);
        let hub = &state.hub;
        let must_go = |client: &&Client| match client.grant {
            Grant::User(id) => hub.users.of(id).is_none_or(|user| hub.hears_too_much(client.id, user)),
            _ => false,
        };
        // Over REST only those who wait are known, by what they wait with.
        let known = hub.clients.values().chain(state.parked.values().map(|parked| &parked.client));
        let gone: BTreeSet<ClientId> = known.filter(must_go).map(|client| client.id).collect();
        for id in gone {
            if id == me.id {
                // It still gets its reply.
                me.closing = true;
            } else {
                state.cut_off(id);
            }
        }
    }
}

impl State {
    /// Ends a client's connection, and what it waits for.
    fn cut_off(&mut self, id: ClientId) {
        self.forget_parked(id);
        if let Some(outbox) = self.outboxes.get(&id) {
            outbox.close();
        }
    }

    fn forget_parked(&mut self, id: ClientId) {
        let theirs = |(_, parked): &(&Ticket, &Parked)| parked.client.id == id;
        let parked: Vec<Ticket> = self.parked.iter().filter(theirs).map(|(&ticket, _)| ticket).collect();
        for ticket in parked {
            self.unpark(ticket);
        }
    }
}
