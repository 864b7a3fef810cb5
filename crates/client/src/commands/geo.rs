//! Places on Earth, as members of sorted sets.

use crate::args::{Args, ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Mismatch, Value};

/// A unit of length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Metres.
    #[default]
    Metres,
    /// Kilometres.
    Kilometres,
    /// Miles.
    Miles,
    /// Feet.
    Feet,
}

impl ToArgs for Unit {
    fn add_to(&self, args: &mut Args) {
        args.add(match self {
            Self::Metres => "m",
            Self::Kilometres => "km",
            Self::Miles => "mi",
            Self::Feet => "ft",
        });
    }
}

impl ToArg for Unit {}

/// A place: degrees east and north.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoPosition {
    /// Degrees east.
    pub longitude: f64,
    /// Degrees north.
    pub latitude: f64,
}

impl FromValue for GeoPosition {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let (longitude, latitude) = value.to()?;
        Ok(Self { longitude, latitude })
    }
}

/// Where to look: made by [`around`](Self::around) and [`around_member`](Self::around_member).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area(Args);

impl Area {
    /// Around a member.
    ///
    /// ```
    /// use dormouse_client::{Area, Unit};
    /// let area = Area::around_member("Palermo").within(200.0, Unit::Kilometres);
    /// # drop(area);
    /// ```
    pub fn around_member(member: impl ToArg) -> Centre {
        let mut args = Args::new();
        args.add("FROMMEMBER").add(member);
        Centre(args)
    }

    /// Around a place.
    ///
    /// ```
    /// use dormouse_client::{Area, Unit};
    /// let area = Area::around(15.0, 37.0).box_of(400.0, 200.0, Unit::Kilometres);
    /// # drop(area);
    /// ```
    pub fn around(longitude: f64, latitude: f64) -> Centre {
        let mut args = Args::new();
        args.add(("FROMLONLAT", longitude, latitude));
        Centre(args)
    }
}

impl ToArgs for Area {
    fn add_to(&self, args: &mut Args) {
        args.add(&self.0);
    }
}

/// The middle of an [`Area`], whose extent is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an area has an extent"]
pub struct Centre(Args);

impl Centre {
    /// Everything that is no farther away.
    pub fn within(mut self, radius: f64, unit: Unit) -> Area {
        self.0.add(("BYRADIUS", radius, unit));
        Area(self.0)
    }

    /// Everything in a rectangle so wide and so high.
    pub fn box_of(mut self, width: f64, height: f64, unit: Unit) -> Area {
        self.0.add(("BYBOX", width, height, unit));
        Area(self.0)
    }
}

/// What a search is to find.
///
/// ```
/// use dormouse_client::{Area, GeoSearch, Unit};
///
/// # dormouse_client::example(async |client| {
/// client.geoadd("Sicily", [(13.361389, 38.115556, "Palermo"), (15.087269, 37.502669, "Catania")]).await?;
/// let near = GeoSearch::new(Area::around(15.0, 37.0).within(200.0, Unit::Kilometres)).nearest_first().count(1);
/// assert_eq!(client.geosearch::<String>("Sicily", near).await?, ["Catania"]);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a search does nothing by itself"]
pub struct GeoSearch(Args);

impl GeoSearch {
    /// All that is in an area.
    #[expect(clippy::needless_pass_by_value, reason = "an area is written where it is used")]
    pub fn new(area: Area) -> Self {
        let mut args = Args::new();
        args.add(&area);
        Self(args)
    }

    fn and(mut self, words: impl ToArgs) -> Self {
        self.0.add(words);
        self
    }

    /// In the order of their distance.
    pub fn nearest_first(self) -> Self {
        self.and("ASC")
    }

    /// In the opposite order.
    pub fn farthest_first(self) -> Self {
        self.and("DESC")
    }

    /// So many, the nearest of all.
    pub fn count(self, count: u64) -> Self {
        self.and(("COUNT", count))
    }

    /// So many, whichever are found first.
    ///
    /// ```
    /// use dormouse_client::{Area, GeoSearch, Unit};
    ///
    /// let search = GeoSearch::new(Area::around(15.0, 37.0).within(1.0, Unit::Miles)).any(3);
    /// # drop(search);
    /// ```
    pub fn any(self, count: u64) -> Self {
        self.and(("COUNT", count, "ANY"))
    }
}

impl ToArgs for GeoSearch {
    fn add_to(&self, args: &mut Args) {
        args.add(&self.0);
    }
}

/// A member that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct GeoHit<T> {
    /// It.
    pub member: T,
    /// How far away it is, in the unit of the search.
    pub distance: f64,
    /// Where it is.
    pub position: GeoPosition,
}

impl<T: FromValue> FromValue for GeoHit<T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let (member, distance, position) = value.to()?;
        Ok(Self { member, distance, position })
    }
}

impl Client {
    /// Adds members, each behind its longitude and latitude; how many are new.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.geoadd("Sicily", (13.361389, 38.115556, "Palermo")).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn geoadd(&self, key: impl ToArg, members: impl ToArgs) -> Command<u64> {
        self.write("GEOADD").arg(key).arg(members)
    }

    /// How far apart two members are.
    ///
    /// ```
    /// use dormouse_client::Unit;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.geoadd("Sicily", [(13.361389, 38.115556, "Palermo"), (15.087269, 37.502669, "Catania")]).await?;
    /// let far = client.geodist("Sicily", "Palermo", "Catania", Unit::Kilometres).await?.unwrap();
    /// assert!((far - 166.27).abs() < 0.01);
    /// # Ok(()) });
    /// ```
    pub fn geodist(&self, key: impl ToArg, from: impl ToArg, to: impl ToArg, unit: Unit) -> Command<Option<f64>> {
        self.read("GEODIST").arg(key).arg(from).arg(to).arg(unit)
    }

    /// Geohashes of members, as geohash.org has them.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.geoadd("Sicily", (13.361389, 38.115556, "Palermo")).await?;
    /// assert_eq!(client.geohash("Sicily", ["Palermo", "x"]).await?, [Some("sqc8b49rny0".to_owned()), None]);
    /// # Ok(()) });
    /// ```
    pub fn geohash(&self, key: impl ToArg, members: impl ToArgs) -> Command<Vec<Option<String>>> {
        self.read("GEOHASH").arg(key).arg(members)
    }

    /// Where members are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.geoadd("Sicily", (13.361389, 38.115556, "Palermo")).await?;
    /// let found = client.geopos("Sicily", ["Palermo", "x"]).await?;
    /// assert!((found[0].unwrap().latitude - 38.115556).abs() < 1e-4 && found[1].is_none());
    /// # Ok(()) });
    /// ```
    pub fn geopos(&self, key: impl ToArg, members: impl ToArgs) -> Command<Vec<Option<GeoPosition>>> {
        self.read("GEOPOS").arg(key).arg(members)
    }

    /// Members in an area.
    ///
    /// ```
    /// use dormouse_client::{Area, GeoSearch, Unit};
    ///
    /// # dormouse_client::example(async |client| {
    /// let search = GeoSearch::new(Area::around(15.0, 37.0).within(200.0, Unit::Kilometres));
    /// assert!(client.geosearch::<String>("Sicily", search).await?.is_empty());
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a search is written where it is used")]
    pub fn geosearch<T: FromValue>(&self, key: impl ToArg, search: GeoSearch) -> Command<Vec<T>> {
        self.read("GEOSEARCH").arg(key).arg(&search)
    }

    /// Members in an area with their distances and places.
    ///
    /// ```
    /// use dormouse_client::{Area, GeoSearch, Unit};
    ///
    /// # dormouse_client::example(async |client| {
    /// client.geoadd("Sicily", (13.361389, 38.115556, "Palermo")).await?;
    /// let search = GeoSearch::new(Area::around_member("Palermo").within(1.0, Unit::Miles));
    /// let hits = client.geosearch_with::<String>("Sicily", search).await?;
    /// assert_eq!((hits[0].member.as_str(), hits[0].distance), ("Palermo", 0.0));
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a search is written where it is used")]
    pub fn geosearch_with<T: FromValue>(&self, key: impl ToArg, search: GeoSearch) -> Command<Vec<GeoHit<T>>> {
        self.read("GEOSEARCH").arg(key).arg(&search).arg(("WITHDIST", "WITHCOORD"))
    }

    /// Keeps the members in an area in another key; how many there are.
    ///
    /// ```
    /// use dormouse_client::{Area, GeoSearch, Unit};
    ///
    /// # dormouse_client::example(async |client| {
    /// let search = GeoSearch::new(Area::around(15.0, 37.0).within(200.0, Unit::Kilometres));
    /// assert_eq!(client.geosearchstore("near", "Sicily", search).await?, 0);
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a search is written where it is used")]
    pub fn geosearchstore(&self, to: impl ToArg, key: impl ToArg, search: GeoSearch) -> Command<u64> {
        self.write("GEOSEARCHSTORE").arg(to).arg(key).arg(&search)
    }
}
