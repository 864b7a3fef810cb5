//! When single fields of a hash die.
//!
//! Kept beside the fields rather than with them: nearly all hashes have none, and those that do are asked all the time
//! which field dies first. A field without a place here lives as long as its key. Deadlines are plain numbers; nothing here
//! knows what time it is.

use std::collections::BTreeSet;

use dormouse_proto::Blob;
use hashbrown::HashMap;

use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::keyspace::heap_bytes;
use crate::types::collection;

/// One effect on a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A field is set or removed. Its deadline must be cleared before it is removed.
    Fields(collection::Change<Blob>),
    /// A field that is there gets a deadline; 0 is none.
    Deadline {
        /// The field.
        field: Blob,
        /// Milliseconds since the Unix epoch.
        at: u64,
    },
    /// Of the fields that die at or before a moment, the first to die are removed: however many, the effect is small.
    Bury {
        /// Milliseconds since the Unix epoch.
        until: u64,
        /// At most so many.
        count: u64,
    },
    /// Several changes in order: what takes a burial back.
    All(Vec<Self>),
}

/// The tags below it are those of a collection's changes.
const TAG_DEADLINE: u8 = 3;
const TAG_BURY: u8 = 4;
const TAG_ALL: u8 = 5;

impl Change {
    /// Sets the value of a field.
    pub const fn set(name: Blob, payload: Blob) -> Self {
        Self::Fields(collection::Change::Set { name, payload })
    }

    /// Removes a field.
    pub const fn remove(name: Blob) -> Self {
        Self::Fields(collection::Change::Remove { name })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Fields(change) => change.write(out),
            Self::Deadline { field, at } => {
                out.push(TAG_DEADLINE);
                put_bytes(out, field);
                put_int(out, *at);
            }
            Self::Bury { until, count } => {
                out.push(TAG_BURY);
                put_int(out, *until);
                put_int(out, *count);
            }
            Self::All(changes) => {
                out.push(TAG_ALL);
                put_int(out, changes.len() as u64);
                for change in changes {
                    change.write(out);
                }
            }
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        if input.peek() != Some(TAG_ALL) {
            return Self::read_one(input);
        }
        input.byte()?;
        (0..input.count()?).map(|_| Self::read_one(input)).collect::<Result<_, _>>().map(Self::All)
    }

    fn read_one(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        match input.peek() {
            Some(TAG_DEADLINE) => {
                input.byte()?;
                Ok(Self::Deadline { field: input.blob()?, at: input.int()? })
            }
            Some(TAG_BURY) => {
                input.byte()?;
                Ok(Self::Bury { until: input.int()?, count: input.int()? })
            }
            _ => collection::Change::read(input).map(Self::Fields),
        }
    }
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(super) struct Deadlines {
    of: HashMap<Blob, u64>,
    /// The same, earliest first.
    order: BTreeSet<(u64, Blob)>,
    /// Heap bytes behind the fields' names, which are here twice.
    heap: usize,
}

impl Deadlines {
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    pub(super) fn get(&self, field: &[u8]) -> u64 {
        self.of.get(field).copied().unwrap_or(0)
    }

    /// Sets a deadline, 0 for none, and returns the old one.
    pub(super) fn set(&mut self, field: &Blob, at: u64) -> u64 {
        let old = if at == 0 { self.of.remove(field) } else { self.of.insert(field.clone(), at) };
        if let Some(old) = old {
            self.order.remove(&(old, field.clone()));
            self.heap -= 2 * heap_bytes(field);
        }
        if at != 0 {
            self.order.insert((at, field.clone()));
            self.heap += 2 * heap_bytes(field);
        }
        old.unwrap_or(0)
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<u64> {
        self.order.first().map(|&(at, _)| at)
    }

    /// How many fields are dead at `now_ms`, counted up to `most`.
    pub(super) fn due(&self, now_ms: u64, most: usize) -> usize {
        self.order.iter().take(most).take_while(|(at, _)| *at <= now_ms).count()
    }

    /// The field that dies first, if it does so at or before `until`.
    pub(super) fn next(&self, until: u64) -> Option<Blob> {
        self.order.first().filter(|(at, _)| *at <= until).map(|(_, field)| field.clone())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        // A slot of the map and one of the tree, each with the slack it has on average.
        const EACH: usize = 2 * (size_of::<(Blob, u64)>() + 16);
        size_of::<Self>() + self.of.len() * EACH + self.heap
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_int(out, self.order.len() as u64);
        for (at, field) in &self.order {
            put_bytes(out, field);
            put_int(out, *at);
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut deadlines = Self::default();
        for _ in 0..input.count()? {
            let (field, at) = (input.blob()?, input.int()?);
            deadlines.set(&field, at);
        }
        Ok(deadlines)
    }
}
