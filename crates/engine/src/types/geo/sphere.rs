//! Points on the earth, taken for a sphere, and how far apart they are.
//!
//! The order of the operations is that of Redis, so that distances agree to the last digit shown.

/// The earth's mean radius, as Redis has it.
const RADIUS_METERS: f64 = 6_372_797.560_856;
/// The last longitude.
pub(super) const LONGITUDE_MAX: f64 = 180.0;
/// The last latitude on a square map of the world (EPSG:3857).
pub(super) const LATITUDE_MAX: f64 = 85.051_128_78;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

/// Part of the map, in degrees: its edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) west: f64,
    pub(super) east: f64,
    pub(super) south: f64,
    pub(super) north: f64,
}

/// Where a search looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// Radius in meters.
    Circle(f64),
    /// Width and height in meters.
    Rectangle(f64, f64),
}

const DEGREE: f64 = std::f64::consts::PI / 180.0;

fn radians(degrees: f64) -> f64 {
    degrees * DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / DEGREE
}

impl Point {
    /// Whether the square map has it.
    pub(super) fn is_on_the_map(self) -> bool {
        self.longitude.abs() <= LONGITUDE_MAX && self.latitude.abs() <= LATITUDE_MAX
    }

    /// Meters along the great circle, by the haversine formula.
    pub(super) fn distance(self, other: Self) -> f64 {
        let v = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if v == 0.0 {
            return self.distance_of_latitudes(other);
        }
        let (from, to) = (radians(self.latitude), radians(other.latitude));
        let u = ((to - from) / 2.0).sin();
        let a = u * u + from.cos() * to.cos() * v * v;
        2.0 * RADIUS_METERS * a.sqrt().asin()
    }

    fn distance_of_latitudes(self, other: Self) -> f64 {
        RADIUS_METERS * (radians(other.latitude) - radians(self.latitude)).abs()
    }

    /// The distance to a place, if it lies in a shape around this one.
    pub(super) fn distance_within(self, shape: Shape, place: Self) -> Option<f64> {
        match shape {
            Shape::Circle(radius) => Some(self.distance(place)).filter(|&distance| distance <= radius),
            Shape::Rectangle(width, height) => {
                let level = Self { longitude: self.longitude, latitude: place.latitude };
                let within = place.distance_of_latitudes(self) <= height / 2.0 && place.distance(level) <= width / 2.0;
                within.then(|| self.distance(place))
            }
        }
    }

    /// Edges that a shape around this point does not cross.
    pub(super) fn bounds(self, shape: Shape) -> Bounds {
        let (half_width, half_height) = match shape {
            Shape::Circle(radius) => (radius, radius),
            Shape::Rectangle(width, height) => (width / 2.0, height / 2.0),
        };
        let up = degrees(half_height / RADIUS_METERS);
        // A degree of longitude is shortest at the edge that is nearer to a pole.
        let edge = if self.latitude < 0.0 { self.latitude - up } else { self.latitude + up };
        let aside = degrees(half_width / RADIUS_METERS / radians(edge).cos());
        Bounds {
            west: self.longitude - aside,
            east: self.longitude + aside,
            south: self.latitude - up,
            north: self.latitude + up,
        }
    }
}

impl Shape {
    /// Meters from the center to the farthest point.
    pub(super) fn reach(self) -> f64 {
        match self {
            Self::Circle(radius) => radius,
            Self::Rectangle(width, height) => ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt(),
        }
    }
}
