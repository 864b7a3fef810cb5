//! Places on the earth: members of a sorted set, whose score is the place.
//!
//! There is no type of its own. A score is a geohash of 52 bits (see `hash.rs`), bit for bit that of Redis, so that sorted
//! sets may be carried from one to the other, and near places are near in the order. Distances are on a sphere
//! (`sphere.rs`); searches look through the few cells that cover the area (`area.rs`, `search.rs`).

mod area;
mod hash;
mod search;
mod sphere;

use dormouse_proto::{Args, CommandError, Reply};

use self::hash::Cell;
use self::sphere::Point;
use crate::args::{double, is};
use crate::command::{Command, Group, Handler, Needs, command};
use crate::txn::{Outcome, Txn};
use crate::types::zset::{ZSet, zadd};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    geo("GEOADD",               -5, geoadd)                      .writes().key(1).grows()          .blind().doc("3.2.0", "Adds places, or moves them, under a condition if asked."),
    geo("GEOPOS",               -2, geopos)                      .reads() .key(1)                  .doc("3.2.0", "Longitudes and latitudes of members."),
    geo("GEODIST",              -4, geodist)                     .reads() .key(1)                  .doc("3.2.0", "The distance between two members."),
    geo("GEOHASH",              -2, geohash)                     .reads() .key(1)                  .doc("3.2.0", "Members as geohashes of 11 characters."),
    geo("GEOSEARCH",            -7, search::geosearch)           .reads() .key(1)                  .doc("6.2.0", "Members within a circle or a rectangle."),
    geo("GEOSEARCHSTORE",       -8, search::geosearchstore)      .writes().keys(1, 2, 1).grows()   .needs(Needs::Write, Needs::Read).overwrites().doc("6.2.0", "Stores the members within a circle or a rectangle."),
    geo("GEORADIUS",            -6, search::georadius)           .writes().key(1).store_from(6).grows().shows().overwrites().doc("3.2.0", "Members within a circle; stores them if asked."),
    geo("GEORADIUS_RO",         -6, search::georadius_ro)        .reads() .key(1)                  .doc("3.2.10", "Members within a circle."),
    geo("GEORADIUSBYMEMBER",    -5, search::georadiusbymember)   .writes().key(1).store_from(5).grows().shows().overwrites().doc("3.2.0", "Members within a circle around a member; stores them if asked."),
    geo("GEORADIUSBYMEMBER_RO", -5, search::georadiusbymember_ro).reads() .key(1)                  .doc("3.2.10", "Members within a circle around a member."),
];

const fn geo(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Geo)
}

/// Digits of the usual text of a geohash.
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
/// How many of them 52 bits fill; an eleventh is always 0.
const DIGITS: u32 = 10;

/// A longitude and a latitude that can be told apart.
fn point(longitude: &[u8], latitude: &[u8]) -> Result<Point, CommandError> {
    let point = Point { longitude: double(longitude)?, latitude: double(latitude)? };
    if point.is_on_the_map() {
        return Ok(point);
    }
    let Point { longitude, latitude } = point;
    Err(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}").into())
}

/// Meters in a unit of length.
fn unit(arg: &[u8]) -> Result<f64, CommandError> {
    let known = [("m", 1.0), ("km", 1_000.0), ("ft", 0.3048), ("mi", 1_609.34)];
    let found = known.into_iter().find_map(|(name, meters)| is(arg, name).then_some(meters));
    found.ok_or(CommandError::text("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// A distance as text.
fn distance(value: f64) -> Reply {
    Reply::bulk(format!("{value:.4}"))
}

fn coordinates(point: Point) -> Reply {
    Reply::Array(vec![Reply::Double(point.longitude), Reply::Double(point.latitude)])
}

/// `ZADD`, with the scores worked out.
fn geoadd(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let is_option = |word: &&&[u8]| ["NX", "XX", "CH"].iter().any(|name| is(word, name));
    let options = args[2..].iter().take_while(is_option).count();
    let (options, places) = args[2..].split_at(options);
    let has = |name| options.iter().any(|word| is(word, name));
    let (places, []) = places.as_chunks::<3>() else {
        return Err(CommandError::Syntax.into());
    };
    if has("NX") && has("XX") {
        return Err(CommandError::Syntax.into());
    }
    let mut scores = Vec::with_capacity(places.len());
    for [longitude, latitude, _] in places {
        scores.push(Cell::of(point(longitude, latitude)?).score().to_string());
    }
    let pairs = scores.iter().zip(places).flat_map(|(score, [.., member])| [score.as_bytes(), member]);
    let all: Vec<&[u8]> = args[..2].iter().chain(options).copied().chain(pairs).collect();
    zadd(txn, &all)
}

fn geopos(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let zset = txn.get::<ZSet>(args[1])?;
    let place = |member: &&[u8]| {
        let score = zset.and_then(|zset| zset.score(member));
        score.map_or(Reply::NullArray, |score| coordinates(Cell::from_score(score).center()))
    };
    Ok(Reply::Array(args[2..].iter().map(place).collect()))
}

fn geodist(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let meters = match &args[4..] {
        [] => 1.0,
        [name] => unit(name)?,
        _ => return Err(CommandError::Syntax.into()),
    };
    let zset = txn.get::<ZSet>(args[1])?;
    let place = |member: &[u8]| Some(Cell::from_score(zset?.score(member)?).center());
    let both = place(args[2]).zip(place(args[3]));
    Ok(both.map_or(Reply::Null, |(a, b)| distance(a.distance(b) / meters)))
}

fn geohash(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let zset = txn.get::<ZSet>(args[1])?;
    let text = |member: &&[u8]| {
        let score = zset.and_then(|zset| zset.score(member));
        score.map_or(Reply::Null, |score| Reply::bulk(geohash_text(Cell::from_score(score).center())))
    };
    Ok(Reply::Array(args[2..].iter().map(text).collect()))
}

/// The geohash others use, whose latitudes reach the poles.
fn geohash_text(point: Point) -> Vec<u8> {
    let bits = Cell::of_whole_earth(point).score();
    let digit = |at: u32| ALPHABET[(bits >> (52 - 5 * (at + 1))) as usize & 31];
    (0..DIGITS).map(digit).chain([ALPHABET[0]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn places_are_scores_and_back() {
        let mut bench = Bench::new();
        let add = "GEOADD sicily 13.361389 38.115556 palermo 15.087269 37.502669 catania";
        assert_eq!(bench.run(add), Reply::Integer(2));
        assert_eq!(bench.run("ZSCORE sicily palermo"), Reply::Double(3_479_099_956_230_698.0));
        assert_eq!(bench.run("GEODIST sicily palermo catania KM"), Reply::bulk("166.2742"));
        assert_eq!(bench.run("GEODIST sicily palermo nobody"), Reply::Null);
        let hashes = [Reply::bulk("sqc8b49rny0"), Reply::bulk("sqdtr74hyu0"), Reply::Null];
        assert_eq!(bench.run("GEOHASH sicily palermo catania nobody"), Reply::Array(hashes.to_vec()));
        assert_eq!(bench.run("GEOADD sicily XX CH 13.5 38 palermo 1 1 other"), Reply::Integer(1));
        assert_eq!(bench.error("GEOADD sicily NX XX 1 1 a"), "ERR syntax error");
        assert_eq!(
            bench.error("GEOADD sicily 1 1 a 181 86 b"),
            "ERR invalid longitude,latitude pair 181.000000,86.000000"
        );
    }
}
