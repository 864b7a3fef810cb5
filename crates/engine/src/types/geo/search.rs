//! Searches: members within a circle or a rectangle around a place or a member.
//!
//! Six commands share one query. They differ in how it is written and in whether its results are stored. Options are read
//! in the order, and refused in the words, of Redis.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_double};

use super::area::cells;
use super::hash::Cell;
use super::sphere::{Point, Shape};
use super::{coordinates, distance, point, unit};
use crate::args::{Options, is};
use crate::partial_sort::partial_sort;
use crate::txn::{Outcome, Txn};
use crate::types::zset::{ZSet, store_members};

/// How a query is written, and what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `GEORADIUS`, which may store; `GEORADIUS_RO` may not.
    Radius { stores: bool },
    /// `GEORADIUSBYMEMBER`, likewise.
    RadiusByMember { stores: bool },
    /// `GEOSEARCH`.
    Search,
    /// `GEOSEARCHSTORE`.
    SearchStore,
}

impl Form {
    const fn is_search(self) -> bool {
        matches!(self, Self::Search | Self::SearchStore)
    }

    const fn may_name_a_store(self) -> bool {
        matches!(self, Self::Radius { stores: true } | Self::RadiusByMember { stores: true })
    }
}

/// Where a search begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Center {
    At(Point),
    /// Of a key that is missing, so it does not matter where.
    Nowhere,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own, which a client gives or not")]
struct Query<'a> {
    center: Option<Center>,
    from_member: bool,
    from_place: bool,
    shape: Option<Shape>,
    /// Meters in the unit of the shape.
    meters: f64,
    with_distance: bool,
    with_hash: bool,
    with_coordinates: bool,
    /// Whether the nearest come first, if anyone cares.
    nearest_first: Option<bool>,
    count: Option<usize>,
    any: bool,
    store: Option<&'a [u8]>,
    store_distance: bool,
}

/// A member within the shape.
#[derive(Clone, Debug)]
struct Hit {
    member: Blob,
    score: f64,
    /// In meters.
    distance: f64,
    place: Point,
}

pub(super) fn geosearch(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run(txn, args, args[1], &args[2..], Form::Search)
}

pub(super) fn geosearchstore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run(txn, args, args[2], &args[3..], Form::SearchStore)
}

pub(super) fn georadius(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run(txn, args, args[1], &args[2..], Form::Radius { stores: true })
}

pub(super) fn georadius_ro(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run(txn, args, args[1], &args[2..], Form::Radius { stores: false })
}

pub(super) fn georadiusbymember(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run(txn, args, args[1], &args[2..], Form::RadiusByMember { stores: true })
}

pub(super) fn georadiusbymember_ro(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run(txn, args, args[1], &args[2..], Form::RadiusByMember { stores: false })
}

fn run<'a>(txn: &mut Txn<'_>, args: Args<'a>, source: &[u8], words: Args<'a>, form: Form) -> Outcome {
    let zset = txn.get::<ZSet>(source)?;
    let mut query = Query::parse(words, form, zset)?;
    if form == Form::SearchStore {
        query.store = Some(args[1]);
    }
    query.check(form, args[0])?;
    let hits = zset.map_or_else(Vec::new, |zset| query.hits(zset));
    match query.store {
        Some(target) => query.keep(txn, target, hits, form),
        None => Ok(Reply::Array(hits.into_iter().map(|hit| query.show(hit)).collect())),
    }
}

/// A length that is not negative.
fn length(arg: &[u8], what: &'static str) -> Result<f64, CommandError> {
    parse_double(arg).ok_or(CommandError::text(what))
}

/// A radius and its unit, as a circle and the meters in the unit.
fn circle(radius: &[u8], name: &[u8]) -> Result<(Shape, f64), CommandError> {
    let radius = length(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(CommandError::text("ERR radius cannot be negative"));
    }
    let meters = unit(name)?;
    Ok((Shape::Circle(radius * meters), meters))
}

fn rectangle(width: &[u8], height: &[u8], name: &[u8]) -> Result<(Shape, f64), CommandError> {
    let (width, height) = (length(width, "ERR need numeric width")?, length(height, "ERR need numeric height")?);
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::text("ERR height or width cannot be negative"));
    }
    let meters = unit(name)?;
    Ok((Shape::Rectangle(width * meters, height * meters), meters))
}

fn member(zset: Option<&ZSet>, name: &[u8]) -> Result<Center, CommandError> {
    let Some(zset) = zset else {
        return Ok(Center::Nowhere);
    };
    let score = zset.score(name).ok_or(CommandError::text("ERR could not decode requested zset member"))?;
    Ok(Center::At(Cell::from_score(score).center()))
}

impl<'a> Query<'a> {
    fn parse(words: Args<'a>, form: Form, zset: Option<&ZSet>) -> Result<Self, CommandError> {
        let mut query = Self { meters: 1.0, ..Self::default() };
        let mut options = Options::new(words);
        match form {
            Form::Radius { .. } => {
                query.center = Some(Center::At(point(options.value()?, options.value()?)?));
                query.around(circle(options.value()?, options.value()?)?);
            }
            Form::RadiusByMember { .. } => {
                query.center = Some(member(zset, options.value()?)?);
                let (radius, name) = (options.value()?, options.value()?);
                // Around a member of nothing, Redis does not look at the radius.
                if zset.is_some() {
                    query.around(circle(radius, name)?);
                }
            }
            Form::Search | Form::SearchStore => {}
        }
        while let Some(word) = options.next() {
            query.option(word, &mut options, form, zset)?;
        }
        Ok(query)
    }

    const fn around(&mut self, (shape, meters): (Shape, f64)) {
        self.shape = Some(shape);
        self.meters = meters;
    }

    fn option(
        &mut self,
        word: &[u8],
        options: &mut Options<'a>,
        form: Form,
        zset: Option<&ZSet>,
    ) -> Result<(), CommandError> {
        let left = options.rest().len();
        match () {
            () if is(word, "WITHDIST") => self.with_distance = true,
            () if is(word, "WITHHASH") => self.with_hash = true,
            () if is(word, "WITHCOORD") => self.with_coordinates = true,
            () if is(word, "ANY") => self.any = true,
            () if is(word, "ASC") => self.nearest_first = Some(true),
            () if is(word, "DESC") => self.nearest_first = Some(false),
            () if is(word, "COUNT") && left >= 1 => {
                let count = options.integer()?;
                if count <= 0 {
                    return Err(CommandError::text("ERR COUNT must be > 0"));
                }
                self.count = Some(count as usize);
            }
            () if form.may_name_a_store() && is(word, "STORE") && left >= 1 => {
                (self.store, self.store_distance) = (Some(options.value()?), false);
            }
            () if form.may_name_a_store() && is(word, "STOREDIST") && left >= 1 => {
                (self.store, self.store_distance) = (Some(options.value()?), true);
            }
            () if form == Form::SearchStore && is(word, "STOREDIST") => self.store_distance = true,
            () if form.is_search() => return self.search_option(word, options, zset),
            () => return Err(CommandError::Syntax),
        }
        Ok(())
    }

    /// The options that say where to search. Of each kind the same may be given twice, but not two of them.
    fn search_option(
        &mut self,
        word: &[u8],
        options: &mut Options<'a>,
        zset: Option<&ZSet>,
    ) -> Result<(), CommandError> {
        let left = options.rest().len();
        let (from_member, from_place) = (self.from_member, self.from_place);
        match () {
            () if is(word, "FROMMEMBER") && left >= 1 && !from_place => {
                self.center = Some(member(zset, options.value()?)?);
                self.from_member = true;
            }
            () if is(word, "FROMLONLAT") && left >= 2 && !from_member => {
                self.center = Some(Center::At(point(options.value()?, options.value()?)?));
                self.from_place = true;
            }
            () if is(word, "BYRADIUS") && left >= 2 && !matches!(self.shape, Some(Shape::Rectangle(..))) => {
                self.around(circle(options.value()?, options.value()?)?);
            }
            () if is(word, "BYBOX") && left >= 3 && !matches!(self.shape, Some(Shape::Circle(_))) => {
                self.around(rectangle(options.value()?, options.value()?, options.value()?)?);
            }
            () => return Err(CommandError::Syntax),
        }
        Ok(())
    }

    fn check(&self, form: Form, name: &[u8]) -> Result<(), CommandError> {
        let name = String::from_utf8_lossy(name);
        if self.store.is_some() && self.shows_more() {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            let text = format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options");
            return Err(text.into());
        }
        if form.is_search() && self.center.is_none() {
            return Err(format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}").into());
        }
        if form.is_search() && self.shape.is_none() {
            return Err(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {name}").into());
        }
        if self.any && self.count.is_none() {
            return Err(CommandError::text("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    const fn shows_more(&self) -> bool {
        self.with_distance || self.with_hash || self.with_coordinates
    }

    /// What lies within, sorted and cut as asked.
    fn hits(&self, zset: &ZSet) -> Vec<Hit> {
        let (Some(Center::At(center)), Some(shape)) = (self.center, self.shape) else {
            return Vec::new();
        };
        let stop = if self.any { self.count.unwrap_or(usize::MAX) } else { usize::MAX };
        let members = cells(center, shape).into_iter().flat_map(|cell| {
            let (min, max) = cell.scores();
            zset.between(min, max)
        });
        let within = members.filter_map(|(member, score)| {
            let place = Cell::from_score(score).center();
            let distance = center.distance_within(shape, place)?;
            Some(Hit { member: member.clone(), score, distance, place })
        });
        let mut hits: Vec<Hit> = within.take(stop).collect();
        // The first few of an order nobody chose would mean nothing, unless any will do.
        let nearest_first = self.nearest_first.or((self.count.is_some() && !self.any).then_some(true));
        let count = self.count.unwrap_or(usize::MAX).min(hits.len());
        if let Some(nearest_first) = nearest_first {
            partial_sort(&mut hits, 0..count, |a, b| {
                let order = a.distance.total_cmp(&b.distance);
                if nearest_first { order } else { order.reverse() }
            });
        }
        hits.truncate(count);
        hits
    }

    fn show(&self, hit: Hit) -> Reply {
        let member = Reply::Bulk(hit.member);
        if !self.shows_more() {
            return member;
        }
        let mut shown = vec![member];
        if self.with_distance {
            shown.push(distance(hit.distance / self.meters));
        }
        if self.with_hash {
            shown.push(Reply::Integer(hit.score as i64));
        }
        if self.with_coordinates {
            shown.push(coordinates(hit.place));
        }
        Reply::Array(shown)
    }

    fn keep(&self, txn: &mut Txn<'_>, target: &[u8], hits: Vec<Hit>, form: Form) -> Outcome {
        let event = if form.is_search() { "geosearchstore" } else { "georadiusstore" };
        let score = |hit: &Hit| if self.store_distance { hit.distance / self.meters } else { hit.score };
        let members = hits.into_iter().map(|hit| (hit.member.clone(), score(&hit))).collect();
        store_members(txn, target, members, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Random;
    use crate::testing::Bench;

    fn members(reply: Reply) -> Vec<String> {
        let name = |member| match member {
            Reply::Bulk(name) => String::from_utf8(name.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        match reply {
            Reply::Array(members) => members.into_iter().map(name).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_search_finds_what_a_look_at_every_member_finds() {
        let mut random = Random::new(5);
        let mut bench = Bench::new();
        let degrees = |random: &mut Random, max: u64| random.below(2 * max) as f64 / 1_000.0 - max as f64 / 1_000.0;
        let mut places = Vec::new();
        for n in 0..400 {
            let place = (degrees(&mut random, 180_000), degrees(&mut random, 80_000));
            bench.run(&format!("GEOADD g {} {} p{n}", place.0, place.1));
            let center = Cell::of(Point { longitude: place.0, latitude: place.1 }).center();
            places.push((format!("p{n}"), center));
        }
        for round in 0..60 {
            // Away from the poles and the date line, where Redis misses some.
            let center = Point { longitude: degrees(&mut random, 90_000), latitude: degrees(&mut random, 50_000) };
            let size = 10_000 + random.below(2_000_000);
            let (shape, words) = if round % 2 == 0 {
                (Shape::Circle(size as f64), format!("BYRADIUS {size} m"))
            } else {
                (Shape::Rectangle(size as f64, size as f64 / 2.0), format!("BYBOX {size} {} m", size as f64 / 2.0))
            };
            let from = format!("FROMLONLAT {} {}", center.longitude, center.latitude);
            let found = members(bench.run(&format!("GEOSEARCH g {from} {words} ASC")));
            let mut expected: Vec<_> = places
                .iter()
                .filter_map(|(name, place)| Some((center.distance_within(shape, *place)?, name.clone())))
                .collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            let expected: Vec<String> = expected.into_iter().map(|(_, name)| name).collect();
            assert_eq!(found, expected, "{from} {words}");
            let stored = bench.run(&format!("GEOSEARCHSTORE s g {from} {words} COUNT 3 DESC STOREDIST"));
            assert_eq!(stored, Reply::count(expected.len().min(3)));
        }
    }

    #[test]
    fn options_are_refused_as_in_redis() {
        let mut bench = Bench::new();
        bench.run("GEOADD g 1 1 a");
        for (line, error) in [
            ("GEOSEARCH g FROMMEMBER b BYRADIUS 1 m", "ERR could not decode requested zset member"),
            ("GEOSEARCH g FROMMEMBER a FROMLONLAT 1 1 BYRADIUS 1 m", "ERR syntax error"),
            (
                "GEOSEARCH g FROMMEMBER a ASC DESC ASC ASC",
                "ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH",
            ),
            ("GEOSEARCH g FROMMEMBER a BYRADIUS 1 m ANY", "ERR the ANY argument requires COUNT argument"),
            ("GEOSEARCH g FROMMEMBER a BYRADIUS -1 m", "ERR radius cannot be negative"),
            ("GEOSEARCH g FROMMEMBER a BYBOX 1 x m", "ERR need numeric height"),
            (
                "GEORADIUS g 1 1 1 m STORE s WITHDIST",
                "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ),
            ("GEORADIUS_RO g 1 1 1 m STORE s", "ERR syntax error"),
            ("GEORADIUS g 1 1 1 yd", "ERR unsupported unit provided. please use M, KM, FT, MI"),
        ] {
            assert_eq!(bench.error(line), error, "{line}");
        }
        let keys = crate::table::by_name(b"GEORADIUSBYMEMBER").unwrap();
        let args: [&[u8]; 9] = [b"g", b"g", b"STORE", b"1", b"m", b"STORE", b"x", b"STOREDIST", b"y"];
        assert_eq!(keys.keys_of(&args).collect::<Vec<_>>(), [b"g", b"y"]);
    }
}
