//! What `CONFIG SET` may change of one database: the few parameters that act, read, and the texts of all that were set.
//!
//! Redis has some two hundred parameters. Most of them belong to the operator or to machinery that is not here; clients and test
//! suites set them all the same, and read back what they set. So every one is checked and remembered as text for as long as the
//! process runs, and those that act here are kept parsed beside it, where a command finds them without a look at text.
//! Nothing of this is durable, as in Redis without a file of its own. Which parameters there are is `types/config/`'s to know.

use std::collections::BTreeMap;

use crate::hub::{Hub, Notifications};
use crate::slow_log;
use crate::usage::Frequency;

/// Bounds of the small form of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Small {
    /// Most entries.
    pub len_max: u32,
    /// Longest entry, in bytes.
    pub bytes_max: u32,
}

/// When values change their form, in the words of Redis's parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encodings {
    /// `hash-max-listpack-entries` and `hash-max-listpack-value`.
    pub hash: Small,
    /// `set-max-listpack-entries` and `set-max-listpack-value`.
    pub set: Small,
    /// `zset-max-listpack-entries` and `zset-max-listpack-value`.
    pub zset: Small,
    /// `set-max-intset-entries`.
    pub integers_max: u32,
    /// `list-max-listpack-size`: so many elements, or one of five sizes if it is negative.
    pub list_size: i32,
    /// `stream-node-max-entries`; 0 is any number.
    pub node_entries_max: u32,
    /// `stream-node-max-bytes`; 0 is any number.
    pub node_bytes_max: u32,
    /// `hll-sparse-max-bytes`.
    pub sparse_bytes_max: u32,
}

/// What a stream remembers of its producers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idmp {
    /// `stream-idmp-duration`: for how long, in seconds.
    pub duration_s: u32,
    /// `stream-idmp-maxsize`: how many names of each.
    pub names_max: u32,
}

impl Encodings {
    /// Redis's own.
    pub const DEFAULT: Self = Self {
        hash: Small { len_max: 512, bytes_max: 64 },
        set: Small { len_max: 128, bytes_max: 64 },
        zset: Small { len_max: 128, bytes_max: 64 },
        integers_max: 512,
        list_size: -2,
        node_entries_max: 100,
        node_bytes_max: 4096,
        sparse_bytes_max: 3_000,
    };
}

impl Default for Encodings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When values change their form.
    pub encodings: Encodings,
    /// Bytes of memory above which commands that make values larger are refused; 0 is never.
    pub maxmemory: u64,
    /// Replicas without which writes are refused. There are none, so anything but 0 refuses all.
    pub replicas_min: u32,
    /// After how long a script makes the server answer `BUSY`, in milliseconds.
    pub busy_after_ms: u64,
    /// How long something takes before `LATENCY` notes it, in milliseconds; 0 is never.
    pub spike_ms: u64,
    /// Whether it is gathered how long commands take.
    pub times_commands: bool,
    /// `tracking-table-max-keys`: how many keys may be remembered for clients that cache; 0 is any number.
    pub tracked_keys_max: u64,
    /// What streams remember of their producers that have no rules of their own.
    pub idmp: Idmp,
    /// `array-slice-size`, as `ARINFO` counts slices.
    pub slice_size: u64,
    /// `array-sparse-kmax`: how many elements make a slice dense.
    pub dense_from: u64,
    /// How the use of keys is counted, if `maxmemory-policy` goes by that.
    pub frequency: Option<Frequency>,
    /// Most entries of `ACL LOG`.
    pub denials_max: usize,
    /// `latency-tracking-info-percentiles`.
    pub percentiles: Vec<f64>,
    /// What was set, by the name Redis prefers.
    texts: BTreeMap<&'static str, String>,
}

/// Redis's `busy-reply-threshold` unless told otherwise, in milliseconds.
const BUSY_AFTER_MS: u64 = 5_000;
/// Redis's `tracking-table-max-keys` unless told otherwise.
const TRACKED_KEYS: u64 = 1_000_000;
/// Redis's `stream-idmp-duration` and `stream-idmp-maxsize` unless told otherwise.
const IDMP: u32 = 100;
/// Redis's `array-slice-size` unless told otherwise.
const SLICE_SIZE: u64 = 4_096;
/// Redis's `array-sparse-kmax` unless told otherwise.
const DENSE_FROM: u64 = 10;
/// Redis's `acllog-max-len` unless told otherwise.
const DENIALS: usize = 128;

impl Default for Settings {
    fn default() -> Self {
        Self {
            encodings: Encodings::DEFAULT,
            maxmemory: 0,
            replicas_min: 0,
            busy_after_ms: BUSY_AFTER_MS,
            spike_ms: 0,
            times_commands: true,
            tracked_keys_max: TRACKED_KEYS,
            idmp: Idmp { duration_s: IDMP, names_max: IDMP },
            slice_size: SLICE_SIZE,
            dense_from: DENSE_FROM,
            frequency: None,
            denials_max: DENIALS,
            percentiles: vec![50.0, 99.0, 99.9],
            texts: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// What a parameter was set to, if it was.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// Takes a text that has been checked, in the form in which it is shown.
    pub(crate) fn set(&mut self, name: &'static str, text: String) {
        let number = text.parse::<u64>().unwrap_or(0);
        let small = u32::try_from(number).unwrap_or(u32::MAX);
        let forms = &mut self.encodings;
        match name {
            "hash-max-listpack-entries" => forms.hash.len_max = small,
            "hash-max-listpack-value" => forms.hash.bytes_max = small,
            "set-max-listpack-entries" => forms.set.len_max = small,
            "set-max-listpack-value" => forms.set.bytes_max = small,
            "zset-max-listpack-entries" => forms.zset.len_max = small,
            "zset-max-listpack-value" => forms.zset.bytes_max = small,
            "set-max-intset-entries" => forms.integers_max = small,
            "list-max-listpack-size" => forms.list_size = text.parse().unwrap_or(0),
            "stream-node-max-entries" => forms.node_entries_max = small,
            "stream-node-max-bytes" => forms.node_bytes_max = small,
            "hll-sparse-max-bytes" => forms.sparse_bytes_max = small,
            "maxmemory" => self.maxmemory = number,
            "min-replicas-to-write" => self.replicas_min = small,
            "busy-reply-threshold" => self.busy_after_ms = number,
            "latency-monitor-threshold" => self.spike_ms = number,
            "latency-tracking" => self.times_commands = text == "yes",
            "tracking-table-max-keys" => self.tracked_keys_max = number,
            "stream-idmp-duration" => self.idmp.duration_s = small,
            "stream-idmp-maxsize" => self.idmp.names_max = small,
            "array-slice-size" => self.slice_size = number.max(1),
            "array-sparse-kmax" => self.dense_from = number,
            "acllog-max-len" => self.denials_max = usize::try_from(number).unwrap_or(usize::MAX),
            "latency-tracking-info-percentiles" => {
                self.percentiles = text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect();
            }
            _ => {}
        }
        self.texts.insert(name, text);
        if matches!(name, "maxmemory-policy" | "lfu-log-factor" | "lfu-decay-time") {
            let number = |name, otherwise| self.text(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
            let frequency =
                Frequency { log_factor: number("lfu-log-factor", 10), decay_minutes: number("lfu-decay-time", 1) };
            let counts = self.text("maxmemory-policy").is_some_and(|policy| policy.ends_with("-lfu"));
            self.frequency = counts.then_some(frequency);
        }
    }

    /// Whether some commands may be refused for what was set.
    pub const fn restrict(&self) -> bool {
        self.maxmemory > 0 || self.replicas_min > 0
    }
}

impl Hub {
    /// Puts settings in force, and returns those that were.
    pub(crate) fn obey(&mut self, settings: Settings) -> Settings {
        let events = settings.text("notify-keyspace-events").unwrap_or_default();
        // Checked when it was set.
        self.events = Notifications::parse(events.as_bytes()).unwrap_or_default();
        let log = &mut self.slow_log;
        let number =
            |name, otherwise: i64| settings.text(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(otherwise);
        log.slower_than_us = number("slowlog-log-slower-than", slow_log::SLOWER_THAN_US);
        log.times_all = log.slower_than_us != slow_log::SLOWER_THAN_US;
        let entries = number("slowlog-max-len", slow_log::ENTRIES as i64).clamp(0, slow_log::ENTRIES_MAX as i64);
        log.entries_max = entries as usize;
        log.entries.truncate(log.entries_max);
        self.acl_log.keep(settings.denials_max);
        self.tracking.keep(settings.tracked_keys_max);
        std::mem::replace(&mut self.settings, settings)
    }
}
