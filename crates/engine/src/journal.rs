//! What a transaction did, twice: as effects, which become one record of the log, and as the way back.
//!
//! Effects say what became of a key, never how a command got there; `replay.rs` is their other end. Each undo is the exact
//! inverse of one change, and they are applied from the last to the first. Nothing here decides anything.

use std::sync::Arc;

use dormouse_proto::Blob;

use crate::acl::User;
use crate::codec::{put_bytes, put_int};
use crate::keyspace::Keyspace;
use crate::libraries;
use crate::script_cache::Scripts;
use crate::settings::Settings;
use crate::value::{AnyChange, Value};

/// Effects, as the journal writes them. Each follows the key it is about, which is written once for a run of effects.
pub(crate) mod op {
    /// The key of what follows.
    pub(crate) const KEY: u8 = 1;
    /// A whole value with its deadline.
    pub(crate) const PUT: u8 = 2;
    /// The key is gone.
    pub(crate) const DELETE: u8 = 3;
    /// A new deadline; 0 is none.
    pub(crate) const EXPIRE: u8 = 4;
    /// An empty value of a type, without deadline.
    pub(crate) const CREATE: u8 = 5;
    /// A change of a value, after its type's tag.
    pub(crate) const CHANGE: u8 = 6;
    /// Every key is gone.
    pub(crate) const FLUSH: u8 = 7;
    /// A whole library of functions. What is about libraries stands at the front of a record.
    pub(crate) const LIBRARY: u8 = 8;
    /// A library is gone: its name.
    pub(crate) const NO_LIBRARY: u8 = 9;
    /// A user is as follows, or gone. About no key.
    pub(crate) const USER: u8 = 10;
    /// The keys are now those that the store has of another epoch: which, and how many. Right behind a flush.
    pub(crate) const ADOPT: u8 = 11;
}

/// Room made for the effects of a key before they are known, so that the usual ones find it.
const JOURNAL_ROOM: usize = 128;

/// Effects as they come, and how to take them back if that may be needed.
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) bytes: Vec<u8>,
    pub(crate) key: Option<Blob>,
    /// Effects on libraries. They stand in front of the others, so that a replay that has no use for keys finds them.
    pub(crate) libraries: Vec<u8>,
    pub(crate) undo: Option<Vec<Undo>>,
}

/// The inverse of one change.
pub(crate) enum Undo {
    Replace { hash: u64, key: Blob, value: Option<Value>, expires_at: u64 },
    Deadline { hash: u64, key: Blob, expires_at: u64 },
    Change { hash: u64, key: Blob, change: AnyChange },
    Rename { from: Blob, to: Blob },
    Flush(Box<Keyspace>),
    Scripts(Scripts),
    Settings(Box<Settings>),
    Library(libraries::Change),
    User { name: Blob, user: Option<Arc<User>> },
}

impl Journal {
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len() + self.libraries.len()
    }

    /// All effects, in the order of a record.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        if self.libraries.is_empty() {
            return self.bytes;
        }
        self.libraries.append(&mut self.bytes);
        self.libraries
    }

    pub(crate) fn about(&mut self, key: &[u8]) {
        if self.key.as_deref() != Some(key) {
            self.bytes.reserve(key.len() + JOURNAL_ROOM);
            self.bytes.push(op::KEY);
            put_bytes(&mut self.bytes, key);
            self.key = Some(Blob::from(key));
        }
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.about(key);
        self.bytes.push(op::DELETE);
    }

    pub(crate) fn expire(&mut self, key: &[u8], expires_at: u64) {
        self.about(key);
        self.bytes.push(op::EXPIRE);
        put_int(&mut self.bytes, expires_at);
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &Value, expires_at: u64) {
        self.about(key);
        self.bytes.push(op::PUT);
        put_int(&mut self.bytes, expires_at);
        value.write(&mut self.bytes);
    }

    pub(crate) fn user(&mut self, name: &[u8], user: Option<&User>) {
        self.bytes.push(op::USER);
        put_bytes(&mut self.bytes, name);
        self.bytes.push(u8::from(user.is_some()));
        if let Some(user) = user {
            user.write(&mut self.bytes);
        }
    }

    pub(crate) fn undo(&mut self, undo: impl FnOnce() -> Undo) {
        if let Some(list) = &mut self.undo {
            list.push(undo());
        }
    }
}
