//! Geohashes: a longitude and a latitude, each halved again and again, their bits interleaved.
//!
//! The bits of the longitude are the odd ones, counted from 0, and those of the latitude the even ones. A [`Cell`] is what
//! its first bits say, a rectangle; at 26 steps for each coordinate it is less than a meter wide, and its bits are a score.
//! The arithmetic is that of Redis in double precision, in the same order: scores must be equal bit for bit.

use super::sphere::{Bounds, LATITUDE_MAX, LONGITUDE_MAX, Point};

/// Halvings of each coordinate in a score.
pub(super) const STEPS_MAX: u32 = 26;
/// Latitudes of the geohash that others use.
const POLE: f64 = 90.0;

const LONGITUDES: u64 = 0xaaaa_aaaa_aaaa_aaaa;
const LATITUDES: u64 = 0x5555_5555_5555_5555;

/// A rectangle of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    bits: u64,
    steps: u32,
}

/// Puts each bit at twice its place.
const fn spread(value: u32) -> u64 {
    let mut bits = value as u64;
    bits = (bits | bits << 16) & 0x0000_ffff_0000_ffff;
    bits = (bits | bits << 8) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & LATITUDES
}

/// Takes back every second bit.
const fn gather(bits: u64) -> u32 {
    let mut bits = bits & LATITUDES;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

impl Cell {
    /// The smallest cell a point is in.
    pub(super) fn of(point: Point) -> Self {
        Self::around(point, STEPS_MAX)
    }

    /// The cell a point is in, after so many halvings.
    pub(super) fn around(point: Point, steps: u32) -> Self {
        Self::halved(point, LATITUDE_MAX, steps)
    }

    /// As [`Self::of`], on a map that reaches the poles.
    pub(super) fn of_whole_earth(point: Point) -> Self {
        Self::halved(point, POLE, STEPS_MAX)
    }

    fn halved(point: Point, latitude_max: f64, steps: u32) -> Self {
        let cells = (1_u64 << steps) as f64;
        let number = |value: f64, max: f64| ((value - -max) / (max - -max) * cells) as u32;
        let latitude = spread(number(point.latitude, latitude_max));
        let longitude = spread(number(point.longitude, LONGITUDE_MAX));
        Self { bits: latitude | longitude << 1, steps }
    }

    /// The smallest cell with a score. Scores that are none are made into some, as on the processors Redis runs on.
    pub(super) fn from_score(score: f64) -> Self {
        const HALF: f64 = 9_223_372_036_854_775_808.0;
        let bits = match score {
            score if score < HALF => score as i64 as u64,
            score if score < 2.0 * HALF => score as u64,
            _ => 0,
        };
        Self { bits, steps: STEPS_MAX }
    }

    /// The least score in it.
    pub(super) const fn score(self) -> u64 {
        self.bits << (2 * (STEPS_MAX - self.steps))
    }

    /// The scores in it: from the first up to, and without, the second.
    pub(super) const fn scores(self) -> (f64, f64) {
        let next = Self { bits: self.bits + 1, ..self };
        (self.score() as f64, next.score() as f64)
    }

    /// Its edges.
    pub(super) fn bounds(self) -> Bounds {
        let cells = (1_u64 << self.steps) as f64;
        let edge = |number: u32, max: f64| -max + f64::from(number) / cells * (max - -max);
        let (latitude, longitude) = (gather(self.bits), gather(self.bits >> 1));
        Bounds {
            south: edge(latitude, LATITUDE_MAX),
            north: edge(latitude.wrapping_add(1), LATITUDE_MAX),
            west: edge(longitude, LONGITUDE_MAX),
            east: edge(longitude.wrapping_add(1), LONGITUDE_MAX),
        }
    }

    /// Its middle, which is never off the map.
    pub(super) fn center(self) -> Point {
        let Bounds { west, east, south, north } = self.bounds();
        Point {
            longitude: f64::midpoint(west, east).clamp(-LONGITUDE_MAX, LONGITUDE_MAX),
            latitude: f64::midpoint(south, north).clamp(-LATITUDE_MAX, LATITUDE_MAX),
        }
    }

    /// The cell so many columns to the east and rows to the north (-1, 0 or 1 each), around the edges of the map.
    pub(super) const fn neighbor(self, columns: i32, rows: i32) -> Self {
        let all = u64::MAX >> (64 - 2 * self.steps);
        let longitude = step(self.bits & LONGITUDES, columns, LATITUDES & all, LONGITUDES & all);
        let latitude = step(self.bits & LATITUDES, rows, LONGITUDES & all, LATITUDES & all);
        Self { bits: longitude | latitude, ..self }
    }
}

/// One more, or one less, in the bits of `mine`; `others` are filled so that the carry passes over them.
const fn step(bits: u64, by: i32, others: u64, mine: u64) -> u64 {
    match by {
        0 => bits,
        1 => bits.wrapping_add(others + 1) & mine,
        _ => (bits | others).wrapping_sub(others + 1) & mine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Random;

    #[test]
    fn a_point_is_in_its_cell_and_the_cell_in_its_score() {
        let mut random = Random::new(11);
        for _ in 0..10_000 {
            let part = |random: &mut Random| random.below(1 << 30) as f64 / f64::from(1 << 29) - 1.0;
            let point =
                Point { longitude: part(&mut random) * LONGITUDE_MAX, latitude: part(&mut random) * LATITUDE_MAX };
            let cell = Cell::of(point);
            assert_eq!(Cell::from_score(cell.score() as f64), cell);
            let middle = cell.center();
            assert!(
                (middle.longitude - point.longitude).abs() < 1e-5 && (middle.latitude - point.latitude).abs() < 1e-5
            );
            let steps = 1 + random.below(26) as u32;
            let (from, to) = Cell::around(point, steps).scores();
            assert!((from..to).contains(&(cell.score() as f64)));
        }
    }

    #[test]
    fn neighbors_touch_and_go_around_the_world() {
        let cell = Cell::around(Point { longitude: 10.0, latitude: 50.0 }, 12);
        let (east, south) = (cell.neighbor(1, 0), cell.neighbor(0, -1));
        let same = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        same(east.bounds().west, cell.bounds().east);
        same(south.bounds().north, cell.bounds().south);
        assert_eq!(cell.neighbor(1, 1).neighbor(-1, -1), cell);
        let last = Cell::around(Point { longitude: 179.999, latitude: 50.0 }, 12);
        same(last.neighbor(1, 0).bounds().west, -LONGITUDE_MAX);
    }
}
