//! Commands that wait: they are parked under a ticket, run again when one of their keys was written, and answered then or when
//! their time is up.
//!
//! A parked command holds no thread. Whoever writes a key serves those that wait for it, the oldest first, before anybody else
//! gets the database; so two that wait for one element are served in turn. One that waits for something to become old enough
//! says when to try again, and housekeeping does.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

use dormouse_engine::{Block, Client, ClientId, Command, Moment, Patient, Stop, Ticket, Txn, hash};
use dormouse_proto::{Blob, CommandError, Reply};
use dormouse_storage::Lsn;

use super::{Database, Delivery, State, refused};
use crate::once::Once;
use crate::work::{Ran, Unparked, Work};

/// What a client is told whose wait another ends with an error.
const UNBLOCKED: CommandError = CommandError::text("UNBLOCKED client unblocked via CLIENT UNBLOCK");

/// A command that waits.
pub(super) struct Parked {
    pub(super) command: &'static Command,
    pub(super) args: Vec<Blob>,
    pub(super) keys: Vec<Blob>,
    /// Whether it is to be run again when a key went, too.
    pub(super) even_if_gone: bool,
    /// When it is to be run again in any case, in milliseconds since the Unix epoch.
    pub(super) retry_ms: Option<NonZeroU64>,
    pub(super) on_timeout: Reply,
    pub(super) client: Client,
    pub(super) once: Option<Arc<Once>>,
}

impl Database {
    /// Serves whoever waits for keys that were written.
    pub(super) fn wake(&self, state: &mut State, mut written: VecDeque<Blob>, mut moment: Moment) {
        moment.now_us += std::mem::take(&mut state.hub.slept_us);
        while let Some(key) = written.pop_front() {
            for ticket in state.hub.waiters(&key) {
                // The one before may have taken the last.
                let gone = state.space.find(hash(&key), &key).is_none_or(|entry| entry.value.is_none());
                if gone && !state.parked.get(&ticket).is_some_and(|parked| parked.even_if_gone) {
                    continue;
                }
                // Each served command draws its own numbers.
                moment.seed = moment.seed.wrapping_add(1);
                self.serve(state, ticket, moment, &mut written);
            }
        }
    }

    /// Runs a parked command again; if it now has an answer, sends it.
    pub(super) fn serve(&self, state: &mut State, ticket: Ticket, moment: Moment, written: &mut VecDeque<Blob>) {
        let Some(mut parked) = state.parked.remove(&ticket) else { return };
        let cold = self.cold(state);
        let args: Vec<&[u8]> = parked.args.iter().map(Blob::as_slice).collect();
        let mut txn = Txn::begin(state.parts(&cold, &mut parked.client, &Patient, moment), false);
        txn.resume();
        let outcome = match txn.check(parked.command, &args) {
            Ok(()) => txn.run_timed(parked.command, &args),
            Err(denial) => Err(refused(&denial, parked.command, txn.client()).into()),
        };
        let done = txn.finish();
        let note = parked.once.as_ref().and_then(|once| state.note(once, &outcome, false, moment));
        let after = self.record(state, &done, note, written);
        let reply = match outcome {
            Ok(reply) => reply,
            Err(Stop::Error(error)) => error.into(),
            Err(stop) => {
                if let Stop::Block(block) = stop {
                    parked.retry_ms = block.retry_ms;
                }
                state.parked.insert(ticket, parked);
                state.send_invalidations();
                return;
            }
        };
        state.end_wait(ticket, &parked);
        if let Some(outbox) = state.outboxes.get(&parked.client.id) {
            outbox.deliver(Delivery::Unparked { reply, after });
        }
        state.send_invalidations();
    }

    /// A parked command gives up.
    pub fn unpark(&self, ticket: Ticket) -> Unparked {
        let Some(mut state) = self.hold() else { return Unparked::Busy };
        match state.unpark(ticket) {
            Some(reply) => Unparked::Reply { reply, after: state.newest(&self.log) },
            None => Unparked::Answered,
        }
    }

    /// Ends the wait of a client's command, with an error or as if its time were up. Whether it waited; `None` while a long
    /// script holds the database.
    pub fn unblock(&self, client: ClientId, with_error: bool) -> Option<bool> {
        let mut state = self.hold()?;
        let theirs = |(_, parked): &(&Ticket, &Parked)| parked.client.id == client;
        let Some(ticket) = state.parked.iter().find(theirs).map(|(&ticket, _)| ticket) else { return Some(false) };
        let error = with_error.then_some(UNBLOCKED);
        let on_timeout = state.end_parked(ticket, error.as_ref());
        let after = state.newest(&self.log);
        let reply = error.map(Reply::from).or(on_timeout);
        if let Some((outbox, reply)) = state.outboxes.get(&client).zip(reply) {
            outbox.deliver(Delivery::Unparked { reply, after });
        }
        Some(true)
    }

    /// A parked command's client has gone: it takes nothing with it.
    pub fn abandon(&self, ticket: Ticket) {
        self.soon(move |state| drop(state.unpark(ticket)));
    }

    /// Runs parked commands again whose time has come, the oldest first.
    pub(super) fn retry(&self, state: &mut State, moment: Moment) {
        let is_due = |parked: &Parked| parked.retry_ms.is_some_and(|at_ms| at_ms.get() <= moment.now_ms());
        let due: Vec<Ticket> =
            state.parked.iter().filter(|(_, parked)| is_due(parked)).map(|(ticket, _)| *ticket).collect();
        for ticket in due {
            let mut written = VecDeque::new();
            self.serve(state, ticket, moment, &mut written);
            self.wake(state, written, moment);
        }
    }
}

impl State {
    /// Parks a command; if it is no single one, its time is up at once.
    pub(super) fn park(&mut self, client: &Client, work: Work<'_>, block: Block, once: Option<&Arc<Once>>) -> Ran {
        let Work::One(command, args) = work else {
            return Ran::Done { reply: block.on_timeout, after: Lsn(0) };
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.hub.wait(ticket, client.id, &block.keys, block.even_if_gone);
        if let Some(once) = once {
            self.notes.begin(once);
        }
        let parked = Parked {
            command,
            args: block.again.map_or_else(|| args.iter().map(|arg| Blob::from(*arg)).collect(), Vec::from),
            keys: block.keys,
            even_if_gone: block.even_if_gone,
            retry_ms: block.retry_ms,
            on_timeout: block.on_timeout,
            client: client.clone(),
            once: once.cloned(),
        };
        self.parked.insert(ticket, parked);
        Ran::Parked { ticket, timeout_ms: block.timeout_ms }
    }

    /// Forgets a parked command; its reply for that case, unless it was answered before.
    pub(super) fn unpark(&mut self, ticket: Ticket) -> Option<Reply> {
        self.end_parked(ticket, None)
    }

    /// As [`Self::unpark`], where an error may end it.
    fn end_parked(&mut self, ticket: Ticket, error: Option<&CommandError>) -> Option<Reply> {
        let parked = self.parked.remove(&ticket)?;
        self.end_wait(ticket, &parked);
        self.hub.count_elsewhere(parked.command, error);
        Some(parked.on_timeout)
    }

    /// A parked command waits no longer.
    pub(super) fn end_wait(&mut self, ticket: Ticket, parked: &Parked) {
        self.hub.stop_waiting(ticket, parked.client.id, &parked.keys);
        if let Some(once) = &parked.once {
            self.notes.end(once);
        }
    }

    /// When the first parked command is to be run again though no key was written.
    pub(super) fn next_retry_ms(&self) -> Option<u64> {
        self.parked.values().filter_map(|parked| parked.retry_ms).min().map(NonZeroU64::get)
    }
}
