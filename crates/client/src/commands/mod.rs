//! The commands, a file for each group, in the order of Redis's own pages.
//!
//! A method says its command's name, whether it only reads, its arguments in order, and what its answer is made into; all else
//! is [`Command`]'s. Durations are sent in milliseconds. Old names of newer commands (`SETEX`, `HMSET`, `ZRANGEBYSCORE`, …) have
//! no methods: [`Client::command`] says them all.

mod arrays;
mod bitmaps;
mod geo;
mod hashes;
mod hyperloglog;
mod json;
mod keys;
mod lists;
mod pubsub;
mod scripting;
mod server;
mod sets;
mod sorted_sets;
mod streams;
mod strings;

use std::ops::{Bound, RangeBounds};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use self::arrays::ArraySearch;
pub use self::bitmaps::{BitField, BitOp, BitRange, Overflow};
pub use self::geo::{Area, Centre, GeoHit, GeoPosition, GeoSearch, Unit};
pub use self::hashes::{FieldExpiry, HashExpiry};
pub use self::json::JsonSetOptions;
pub use self::keys::{ExpireOptions, RestoreOptions, ScanOptions, Scanned, SortOptions, Ttl};
pub use self::lists::{Pivot, Side};
pub use self::sets::SetCardOptions;
pub use self::sorted_sets::{Aggregate, ZAddOptions, ZRange};
pub use self::streams::{
    AutoClaimed, ClaimOptions, Entry, GroupStart, Pending, PendingSummary, ReadOptions, StreamId, Trim, XAddOptions,
};
pub use self::strings::{CountOptions, GetExpiry, SetOptions};
use crate::args::Args;
use crate::client::Client;
use crate::command::{Command, Effect};
use crate::value::FromValue;

impl Client {
    /// A command that only reads. The words of its name are arguments, each.
    pub(crate) fn read<T: FromValue>(&self, name: &'static str) -> Command<T> {
        Command::new(self, name.into(), Effect::Reads, words(name))
    }

    /// A command that may write.
    pub(crate) fn write<T: FromValue>(&self, name: &'static str) -> Command<T> {
        Command::new(self, name.into(), Effect::Writes, words(name))
    }
}

fn words(name: &str) -> Args {
    let mut args = Args::new();
    for word in name.split(' ') {
        args.push(word.as_bytes());
    }
    args
}

/// Milliseconds; part of one counts as one, since a deadline of nothing would be an error.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch.
fn unix_millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The bounds of a range of scores, in Redis's words.
fn scores(range: &impl RangeBounds<f64>) -> (String, String) {
    let bound = |bound: Bound<&f64>, open: &str| match bound {
        Bound::Included(score) => score.to_string(),
        Bound::Excluded(score) => format!("({score}"),
        Bound::Unbounded => open.to_owned(),
    };
    (bound(range.start_bound(), "-inf"), bound(range.end_bound(), "+inf"))
}

/// The bounds of a range of members that have one score, in Redis's words.
fn members<M: AsRef<[u8]>>(range: &impl RangeBounds<M>) -> (Vec<u8>, Vec<u8>) {
    let bound = |bound: Bound<&M>, open: &[u8]| match bound {
        Bound::Included(member) => [b"[", member.as_ref()].concat(),
        Bound::Excluded(member) => [b"(", member.as_ref()].concat(),
        Bound::Unbounded => open.to_vec(),
    };
    (bound(range.start_bound(), b"-"), bound(range.end_bound(), b"+"))
}

/// Options of a command: arguments that are added one after the other.
macro_rules! options {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$option_doc:meta])* $option:ident($($given:ident: $kind:ty),*) => $words:expr;)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[must_use = "options do nothing by themselves"]
        pub struct $name($crate::args::Args);

        impl $name {
            /// None.
            pub const fn new() -> Self {
                Self($crate::args::Args::new())
            }

            $(
                $(#[$option_doc])*
                pub fn $option(mut self, $($given: $kind),*) -> Self {
                    self.0.add($words);
                    self
                }
            )+
        }

        impl $crate::args::ToArgs for $name {
            fn add_to(&self, args: &mut $crate::args::Args) {
                args.add(&self.0);
            }
        }
    };
}
use options;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_said_in_redis_words() {
        assert_eq!(scores(&(..)), ("-inf".to_owned(), "+inf".to_owned()));
        assert_eq!(scores(&(1.0..2.5)), ("1".to_owned(), "(2.5".to_owned()));
        assert_eq!(scores(&(-1.5..=3.0)), ("-1.5".to_owned(), "3".to_owned()));
        assert_eq!(members(&("a"..="c")), (b"[a".to_vec(), b"[c".to_vec()));
        assert_eq!(members::<&str>(&..), (b"-".to_vec(), b"+".to_vec()));
    }

    #[test]
    fn no_deadline_is_nothing() {
        assert_eq!(millis(Duration::from_micros(1)), 1);
        assert_eq!(millis(Duration::from_secs(2)), 2000);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
