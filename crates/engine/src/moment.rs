//! Time and chance, handed in.
//!
//! A command sees one frozen moment, however long it runs; a script or transaction sees the same one throughout. So a
//! reply is a function of the data, the command and the moment, and a simulator can run years in a second.

/// When a command happens, and the seed of whatever it draws.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// Microseconds since the Unix epoch.
    pub now_us: u64,
    /// Seed of this command's random numbers.
    pub seed: u64,
}

impl Moment {
    /// Milliseconds since the Unix epoch, the unit of every expiry.
    pub const fn now_ms(self) -> u64 {
        self.now_us / 1_000
    }
}

/// A small deterministic generator (SplitMix64): good enough to pick members, not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that always continues the same way from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, or zero if `bound` is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }
}
