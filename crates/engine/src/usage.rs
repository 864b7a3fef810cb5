//! When a key was used last, or how often it is used: one number for each entry in memory, as Redis keeps it.
//!
//! Redis goes by one or the other, as `maxmemory-policy` says, and `OBJECT IDLETIME` and `FREQ` tell it. Here neither decides
//! anything: keys leave memory by a rule of their own. A frequency is a counter of eight bits that rises more and more rarely,
//! and falls by one each time its minutes have passed. It is no part of what a key is, so nothing of it is logged.

use crate::moment::Random;

/// The counter of a key that is new.
const COUNTER_NEW: u8 = 5;
/// Moments are far above this; what is below is a frequency.
const FREQUENCY_BITS: u32 = 24;
/// Minutes wrap around.
const MINUTES: u32 = 0xffff;

/// How frequencies rise and fall: `lfu-log-factor` and `lfu-decay-time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequency {
    /// The larger it is, the more uses a counter stands for.
    pub log_factor: u32,
    /// After how many minutes a counter falls by one; 0 is never.
    pub decay_minutes: u32,
}

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage(u32);

impl Usage {
    /// It was used at a moment, in seconds since the Unix epoch.
    pub(crate) const fn at(now_s: u32) -> Self {
        Self(now_s)
    }

    /// It is used so often now.
    pub(crate) const fn often(counter: u8, now_s: u32) -> Self {
        Self(((now_s / 60) & MINUTES) << 8 | counter as u32)
    }

    /// Of a key that comes to be.
    pub(crate) const fn new(frequency: Option<Frequency>, now_s: u32) -> Self {
        if frequency.is_some() { Self::often(COUNTER_NEW, now_s) } else { Self::at(now_s) }
    }

    /// After one use more.
    pub(crate) fn used(self, frequency: Option<Frequency>, now_s: u32, random: &mut Random) -> Self {
        let Some(frequency) = frequency else { return Self::at(now_s) };
        let counter = self.counter(frequency, now_s);
        let above = u64::from(counter.saturating_sub(COUNTER_NEW));
        let rises = counter < u8::MAX && random.below(above * u64::from(frequency.log_factor) + 1) == 0;
        Self::often(counter + u8::from(rises), now_s)
    }

    /// How often it is used. What was not counted when that began is not known to be used.
    pub(crate) const fn counter(self, frequency: Frequency, now_s: u32) -> u8 {
        if self.0 >> FREQUENCY_BITS != 0 {
            return 0;
        }
        let counter = (self.0 & 0xff) as u8;
        let minutes = (now_s / 60).wrapping_sub(self.0 >> 8) & MINUTES;
        match minutes.checked_div(frequency.decay_minutes) {
            Some(falls) if falls < counter as u32 => counter - falls as u8,
            Some(_) => 0,
            None => counter,
        }
    }

    /// For how long it was not used, in seconds. Where frequencies were counted it is not known, and counts as used.
    pub(crate) const fn idle_s(self, now_s: u32) -> u32 {
        if self.0 >> FREQUENCY_BITS == 0 { 0 } else { now_s.saturating_sub(self.0) }
    }

    /// As `DEBUG OBJECT` shows it.
    pub(crate) const fn shown(self) -> u32 {
        self.0 & 0xff_ffff
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u32 = 1_700_000_000;
    const RULE: Frequency = Frequency { log_factor: 10, decay_minutes: 1 };

    #[test]
    fn counters_rise_more_and_more_rarely_and_fall_with_time() {
        let mut random = Random::new(1);
        let mut usage = Usage::new(Some(RULE), NOW_S);
        assert_eq!(usage.counter(RULE, NOW_S), COUNTER_NEW);
        let mut after = |uses: u32| {
            (0..uses).for_each(|_| usage = usage.used(Some(RULE), NOW_S, &mut random));
            usage
        };
        assert_eq!(after(1).counter(RULE, NOW_S), COUNTER_NEW + 1, "the first counts for sure");
        let hundred = after(99).counter(RULE, NOW_S);
        let thousands = after(10_000).counter(RULE, NOW_S);
        assert!((7..16).contains(&hundred) && (30..70).contains(&thousands), "{hundred} {thousands}");
        assert_eq!(usage.counter(RULE, NOW_S + 180), thousands - 3);
        assert_eq!(usage.counter(RULE, NOW_S + 60 * 300), 0);
        assert_eq!(usage.counter(Frequency { decay_minutes: 0, ..RULE }, NOW_S + 60 * 300), thousands);
    }

    #[test]
    fn moments_and_frequencies_are_told_apart() {
        let moment = Usage::new(None, NOW_S);
        assert_eq!((moment.counter(RULE, NOW_S), moment.idle_s(NOW_S + 7)), (0, 7));
        assert_eq!(Usage::often(100, NOW_S).idle_s(NOW_S + 7), 0);
        assert_eq!(moment.used(Some(RULE), NOW_S, &mut Random::new(1)).counter(RULE, NOW_S), 1);
    }
}
