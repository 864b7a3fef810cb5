//! The value of a key: one of the data types, each in its own file under `types/`.
//!
//! A type joins by implementing [`Kind`] and adding one line to each list here. Everything else (editing, effects,
//! rollback, replay, checkpoints) works for all types alike: a value only ever changes by applying a [`Kind::Change`], and
//! applying one returns the change that undoes it. The live path and the replay of the log share that one function, so they
//! cannot disagree.

use dormouse_proto::Blob;

use crate::codec::{Corrupt, Reader};
use crate::settings::Encodings;
use crate::types::{array::Array, hash::Hash, json::Json, list::List, set::Set, stream::Stream, zset::ZSet};

/// What every data type can do.
pub trait Kind: Tagged + Default + Clone {
    /// One effect on a value: what the log records and replays.
    type Change: std::fmt::Debug;

    /// Applies a change and returns its inverse.
    fn apply(&mut self, change: Self::Change) -> Self::Change;

    /// Writes a change as bytes.
    fn write_change(change: &Self::Change, out: &mut Vec<u8>);

    /// Reads what [`Self::write_change`] wrote.
    fn read_change(input: &mut Reader<'_>) -> Result<Self::Change, Corrupt>;

    /// Writes the whole value as bytes.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads what [`Self::write`] wrote.
    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt>;

    /// Whether the key vanishes, as empty collections do.
    fn is_void(&self) -> bool;

    /// When the first of its parts dies, in milliseconds since the Unix epoch, if parts have deadlines of their own.
    fn next_due(&self) -> Option<u64> {
        None
    }

    /// Bytes of memory beyond the entry itself, near enough, in constant time.
    fn memory_bytes(&self) -> usize;

    /// Takes the bounds that decide in which form it is kept from now on. Its content stays as it is.
    fn adapt(&mut self, _: &Encodings) {}

    /// What the value holds, in an order of its own, for tests: equal texts mean equal values.
    fn canonical(&self) -> String;
}

/// The place of a data type in [`Value`]; the list below implements it.
pub trait Tagged: Sized {
    /// The type's tag.
    const TYPE: Type;
    /// Wraps the changes of this type.
    fn wrap(change: <Self as Kind>::Change) -> AnyChange
    where
        Self: Kind;
    /// The value as this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The value as this type, to change it.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// This as a value.
    fn into_value(self) -> Value;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident($store:ty, $kind:ty) = $tag:literal, $name:literal;)*) => {
        /// A data type, as `TYPE` names it. The number is its tag on disk.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Type { $($(#[$doc])* $variant = $tag,)* }

        impl Type {
            /// Every type.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name `TYPE` answers.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(crate) fn from_tag(tag: u8) -> Result<Self, Corrupt> {
                match tag { $($tag => Ok(Self::$variant),)* _ => Err(Corrupt("the tag of a type")) }
            }
        }

        /// A value of any type.
        #[derive(Clone, Debug)]
        pub enum Value { $($(#[$doc])* $variant($store),)* }

        /// A change to a value of any type.
        #[derive(Debug)]
        pub enum AnyChange { $($(#[$doc])* $variant(<$kind as Kind>::Change),)* }

        impl Value {
            /// Its type.
            pub const fn kind(&self) -> Type {
                match self { $(Self::$variant(_) => Type::$variant,)* }
            }

            /// An empty value of a type, to be filled.
            pub(crate) fn empty(kind: Type) -> Self {
                match kind { $(Type::$variant => <$kind>::default().into_value(),)* }
            }

            /// Writes the type's tag and the whole value.
            pub fn write(&self, out: &mut Vec<u8>) {
                out.push(self.kind() as u8);
                match self { $(Self::$variant(value) => <$kind as Kind>::write(value, out),)* }
            }

            /// Reads what [`Self::write`] wrote.
            pub fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
                Ok(match Type::from_tag(input.byte()?)? {
                    $(Type::$variant => <$kind as Kind>::read(input)?.into_value(),)*
                })
            }

            pub(crate) fn is_void(&self) -> bool {
                match self { $(Self::$variant(value) => <$kind as Kind>::is_void(value),)* }
            }

            /// See [`Kind::next_due`].
            pub fn next_due(&self) -> Option<u64> {
                match self { $(Self::$variant(value) => <$kind as Kind>::next_due(value),)* }
            }

            /// Bytes of memory the value takes beyond its entry.
            pub fn memory_bytes(&self) -> usize {
                match self { $(Self::$variant(value) => <$kind as Kind>::memory_bytes(value),)* }
            }

            /// See [`Kind::adapt`].
            pub(crate) fn adapt(&mut self, encodings: &Encodings) {
                match self { $(Self::$variant(value) => <$kind as Kind>::adapt(value, encodings),)* }
            }

            /// See [`Kind::canonical`].
            pub fn canonical(&self) -> String {
                match self { $(Self::$variant(value) => <$kind as Kind>::canonical(value),)* }
            }

            /// Applies a change of its own type; `None` if the types differ.
            pub(crate) fn apply(&mut self, change: AnyChange) -> Option<AnyChange> {
                match (self, change) {
                    $((Self::$variant(value), AnyChange::$variant(change)) => {
                        Some(AnyChange::$variant(<$kind as Kind>::apply(value, change)))
                    })*
                    _ => None,
                }
            }
        }

        impl AnyChange {
            pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
                Ok(match Type::from_tag(input.byte()?)? {
                    $(Type::$variant => Self::$variant(<$kind as Kind>::read_change(input)?),)*
                })
            }
        }

        $(impl Tagged for $kind {
            const TYPE: Type = Type::$variant;

            fn wrap(change: <Self as Kind>::Change) -> AnyChange {
                AnyChange::$variant(change)
            }

            fn of(value: &Value) -> Option<&Self> {
                match value {
                    Value::$variant(value) => { let value: &Self = value; Some(value) }
                    _ => None,
                }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                match value {
                    Value::$variant(value) => { let value: &mut Self = value; Some(value) }
                    _ => None,
                }
            }

            fn into_value(self) -> Value {
                Value::$variant(self.into())
            }
        })*
    };
}

kinds! {
    /// A byte string.
    String(Blob, Blob) = 0, "string";
    /// Fields and values.
    Hash(Box<Hash>, Hash) = 1, "hash";
    /// A sequence.
    List(Box<List>, List) = 2, "list";
    /// Distinct members.
    Set(Box<Set>, Set) = 3, "set";
    /// Members ordered by score.
    ZSet(Box<ZSet>, ZSet) = 4, "zset";
    /// A log of entries.
    Stream(Box<Stream>, Stream) = 5, "stream";
    /// A JSON document.
    Json(Box<Json>, Json) = 6, "ReJSON-RL";
    /// Strings at indexes.
    Array(Box<Array>, Array) = 7, "array";
}

impl Value {
    /// Of a type whose sizes `INFO` tells: its place among them, and its length.
    pub(crate) fn size(&self) -> Option<(usize, usize)> {
        Some(match self {
            Self::String(value) => (0, value.len()),
            Self::List(value) => (1, value.len()),
            Self::Set(value) => (2, value.len()),
            Self::ZSet(value) => (3, value.len()),
            Self::Hash(value) => (4, value.len()),
            Self::Stream(_) | Self::Json(_) | Self::Array(_) => return None,
        })
    }
}
