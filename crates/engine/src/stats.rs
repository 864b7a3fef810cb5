//! What a database counts of its commands: how many ran, how long they took, what they answered, and when something took very
//! long. `INFO commandstats`, `errorstats` and `latencystats` print it, and so does `LATENCY`.
//!
//! Counting is an index into an array, by the row's place in the table. Looking at the clock would cost more than many a
//! command, so commands that seldom take long are timed one call in sixteen, and the calls between count as long as that one
//! did: the numbers of calls are exact, their durations a sample. All is timed while somebody watches (a slow log with a
//! threshold of its own, a monitor of spikes). Nothing of this gets into an effect or a reply to a command.

use std::collections::{BTreeMap, VecDeque};

use dormouse_proto::CommandError;

use crate::command::Command;
use crate::hub::{Denied, Hub};
use crate::table::place;

/// Of commands that seldom take long, one call in so many is timed.
const SAMPLED_EVERY: u64 = 16;
/// How many spans of time are told apart: below 1 µs, and then up to twice as long each, to half an hour.
const SPANS: usize = 32;
/// Most distinct codes of errors that are counted, as in Redis.
const CODES_MAX: usize = 128;
/// Most spikes kept of an event, as in Redis.
const SPIKES_MAX: usize = 160;

/// What is known of one command.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandStats {
    /// How often it has run.
    pub(crate) calls: u64,
    /// How long that took together, in microseconds.
    pub(crate) took_us: u64,
    /// How often it was refused before it ran.
    pub(crate) rejected: u64,
    /// How often it ran and answered an error.
    pub(crate) failed: u64,
    /// How long the last timed call took.
    last_us: u64,
    /// How many calls took how long.
    pub(crate) spans: Spans,
}

/// How many calls took how long, by powers of two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans([u32; SPANS]);

impl Spans {
    fn add(&mut self, took_us: u64) {
        // Redis's first span ends at 1,024 ns, so what took a microsecond is in it.
        let at = (u64::BITS - took_us.saturating_sub(1).leading_zeros()) as usize;
        let at = if took_us <= 1 { 0 } else { at };
        let span = &mut self.0[at.min(SPANS - 1)];
        *span = span.saturating_add(1);
    }

    /// The longest that a call in a span took, in nanoseconds: as the histogram of Redis rounds it.
    const fn end_ns(at: usize) -> u64 {
        (1_032 << at) - 1
    }

    /// Spans that have calls: their ends in microseconds, and the calls up to there.
    pub(crate) fn cumulated(&self) -> Vec<(u64, u64)> {
        let mut sum = 0;
        let mut found = Vec::new();
        for (at, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            sum += u64::from(*count);
            found.push((Self::end_ns(at) / 1_000, sum));
        }
        found
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// How long at most so many percent of the calls took, in microseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let all: u64 = self.0.iter().copied().map(u64::from).sum();
        let wanted = ((percent / 100.0 * all as f64).ceil() as u64).max(1);
        let mut sum = 0;
        for (at, count) in self.0.iter().enumerate() {
            sum += u64::from(*count);
            if sum >= wanted {
                return Self::end_ns(at) as f64 / 1_000.0;
            }
        }
        0.0
    }
}

/// Something took long: when, in seconds since the Unix epoch, and for how many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spike {
    pub(crate) at_s: u64,
    pub(crate) took_ms: u64,
}

/// The spikes of one event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spikes {
    /// The oldest first.
    pub(crate) latest: VecDeque<Spike>,
    /// The longest ever.
    pub(crate) longest_ms: u64,
    /// How many there were since the last reset, and how long they took together.
    pub(crate) count: u64,
    pub(crate) sum_ms: u64,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    /// By the row's place in the table; as long as the last row that was used.
    commands: Vec<CommandStats>,
    /// Errors by their codes.
    pub(crate) errors: BTreeMap<String, u64>,
    /// All errors.
    pub(crate) error_replies: u64,
    /// By event.
    pub(crate) spikes: BTreeMap<&'static str, Spikes>,
}

impl Stats {
    fn of(&mut self, command: &'static Command) -> Option<&mut CommandStats> {
        let at = place(command)?.index;
        if at >= self.commands.len() {
            self.commands.resize_with(at + 1, CommandStats::default);
        }
        self.commands.get_mut(at)
    }

    /// Every command that was asked for, with its place.
    pub(crate) fn used(&self) -> impl Iterator<Item = (usize, &CommandStats)> {
        let used = |(_, stats): &(usize, &CommandStats)| stats.calls + stats.rejected + stats.failed > 0;
        self.commands.iter().enumerate().filter(used)
    }

    fn error(&mut self, error: &CommandError) {
        self.error_replies += 1;
        let code = error.code();
        if let Some(count) = self.errors.get_mut(&code) {
            *count += 1;
        } else if self.errors.len() < CODES_MAX {
            self.errors.insert(code, 1);
        }
    }
}

impl Hub {
    /// Whether the next call of a command is timed.
    pub(crate) fn is_timed(&mut self, command: &'static Command) -> bool {
        let all = self.slow_log.times_all || self.settings.spike_ms > 0;
        let seldom_long = command.is_fast() || command.is_brief();
        all || !seldom_long || self.stats.of(command).is_none_or(|stats| stats.calls.is_multiple_of(SAMPLED_EVERY))
    }

    /// Counts a call of a command, and how long it took if it was timed. An error that it answered counts, too, unless what
    /// the command has run counted one already.
    pub(crate) fn count(
        &mut self,
        command: &'static Command,
        took_us: Option<u64>,
        error: Option<&CommandError>,
        errors_before: u64,
    ) {
        let times = self.settings.times_commands;
        if let Some(stats) = self.stats.of(command) {
            stats.calls += 1;
            stats.last_us = took_us.unwrap_or(stats.last_us);
            stats.took_us += stats.last_us;
            if times {
                stats.spans.add(stats.last_us);
            }
            stats.failed += u64::from(error.is_some());
        }
        if let Some(error) = error
            && self.stats.error_replies == errors_before
        {
            self.stats.error(error);
        }
    }

    /// Counts a command that was refused before it ran; none if there is no such command.
    pub fn count_rejected(&mut self, command: Option<&'static Command>, error: &CommandError) {
        if let Some(stats) = command.and_then(|command| self.stats.of(command)) {
            stats.rejected += 1;
        }
        self.stats.error(error);
    }

    /// Counts a command that the layer above has run.
    pub fn count_elsewhere(&mut self, command: &'static Command, error: Option<&CommandError>) {
        let before = self.stats.error_replies;
        self.count(command, None, error, before);
    }

    /// Notes that something took long, if that is asked for.
    pub fn note_spike(&mut self, event: &'static str, took_us: u64, at_s: u64) {
        let took_ms = took_us / 1_000;
        if self.settings.spike_ms == 0 || took_ms < self.settings.spike_ms {
            return;
        }
        let spikes = self.stats.spikes.entry(event).or_default();
        (spikes.count, spikes.sum_ms) = (spikes.count + 1, spikes.sum_ms + took_ms);
        spikes.longest_ms = spikes.longest_ms.max(took_ms);
        match spikes.latest.back_mut() {
            // One a second is kept, the longest of it.
            Some(last) if last.at_s == at_s => last.took_ms = last.took_ms.max(took_ms),
            _ => {
                if spikes.latest.len() >= SPIKES_MAX {
                    spikes.latest.pop_front();
                }
                spikes.latest.push_back(Spike { at_s, took_ms });
            }
        }
    }

    /// `CONFIG RESETSTAT`.
    pub(crate) fn reset_counts(&mut self) {
        self.stats = Stats { spikes: std::mem::take(&mut self.stats.spikes), ..Stats::default() };
        let facts = &mut self.facts;
        (facts.commands, facts.connections) = (0, 0);
        (facts.hits, facts.misses) = (0, 0);
        (facts.expired, facts.expired_fields, facts.freed_lazily) = (0, 0, 0);
        facts.denied = Denied::default();
        self.evicted_scripts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_end_where_those_of_redis_do() {
        let mut spans = Spans::default();
        for us in [0, 1, 2, 3, 16, 17, 33, 1_000, 300_000] {
            spans.add(us);
        }
        assert_eq!(spans.cumulated(), [(1, 2), (2, 3), (4, 4), (16, 5), (33, 6), (66, 7), (1_056, 8), (541_065, 9)]);
        assert!((spans.percentile(50.0) - 16.511).abs() < 1e-9);
        spans.add(u64::MAX);
        assert_eq!(spans.cumulated().last().unwrap().1, 10);
        assert!((Spans::default().percentile(50.0)).abs() < 1e-9);
    }

    #[test]
    fn spikes_are_kept_one_a_second_and_so_many_at_most() {
        let mut hub = Hub::default();
        hub.note_spike("command", 10_000_000, 1);
        assert!(hub.stats.spikes.is_empty(), "nobody asked");
        hub.settings.spike_ms = 10;
        for (us, at_s) in [(9_999, 1), (10_000, 2), (30_000, 2), (20_000, 2)] {
            hub.note_spike("command", us, at_s);
        }
        let spikes = &hub.stats.spikes["command"];
        assert_eq!(spikes.latest, [Spike { at_s: 2, took_ms: 30 }]);
        assert_eq!((spikes.longest_ms, spikes.count, spikes.sum_ms), (30, 3, 60));
        (10..1_000).for_each(|at_s| hub.note_spike("command", 11_000, at_s));
        assert_eq!(hub.stats.spikes["command"].latest.len(), SPIKES_MAX);
    }

    #[test]
    fn codes_of_errors_are_bounded() {
        let mut stats = Stats::default();
        for at in 0..200 {
            stats.error(&CommandError::from(format!("CODE{at} text")));
        }
        assert_eq!((stats.errors.len(), stats.error_replies), (CODES_MAX, 200));
    }
}
