//! Sorted sets: members with scores.

use std::ops::RangeBounds;
use std::time::Duration;

use super::keys::scan_of;
use super::lists::Side;
use super::{Scanned, members, options, scores};
use crate::args::{Args, ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Pairs};

options! {
    /// Options of [`Client::zadd_with`] and [`Client::zadd_incr`].
    ///
    /// ```
    /// use dormouse_client::ZAddOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", [(1, "a")]).await?;
    /// assert_eq!(client.zadd_with("z", [(5, "a"), (2, "b")], ZAddOptions::new().gt().changed()).await?, 2);
    /// # Ok(()) });
    /// ```
    ZAddOptions {
        /// Only new members.
        nx() => "NX";
        /// Only members there are.
        xx() => "XX";
        /// Only if the score grows.
        gt() => "GT";
        /// Only if the score falls.
        lt() => "LT";
        /// Count the members that have changed, too.
        changed() => "CH";
    }
}

/// How the scores of a member of several sets become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl ToArgs for Aggregate {
    fn add_to(&self, args: &mut Args) {
        args.add("AGGREGATE").add(match self {
            Self::Sum => "SUM",
            Self::Min => "MIN",
            Self::Max => "MAX",
        });
    }
}

/// Part of a sorted set: by rank, by score, or by name among members of one score.
///
/// ```
/// use dormouse_client::ZRange;
///
/// # dormouse_client::example(async |client| {
/// client.zadd("z", [(1.0, "a"), (2.5, "b"), (4.0, "c")]).await?;
/// assert_eq!(client.zrange::<String>("z", ZRange::ranks(0, -1).reversed()).await?, ["c", "b", "a"]);
/// assert_eq!(client.zrange::<String>("z", ZRange::scores(1.5..)).await?, ["b", "c"]);
/// assert_eq!(client.zrange::<String>("z", ZRange::scores(..4.0).limit(1, 5)).await?, ["b"]);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a range does nothing by itself"]
pub struct ZRange {
    start: Vec<u8>,
    stop: Vec<u8>,
    by: Option<&'static str>,
    reversed: bool,
    limit: Option<(u64, i64)>,
}

impl ZRange {
    fn of(start: impl Into<Vec<u8>>, stop: impl Into<Vec<u8>>, by: Option<&'static str>) -> Self {
        Self { start: start.into(), stop: stop.into(), by, reversed: false, limit: None }
    }

    /// From one rank to another, both included; negative ones count from the end.
    pub fn ranks(start: i64, stop: i64) -> Self {
        Self::of(start.to_string(), stop.to_string(), None)
    }

    /// By score.
    pub fn scores(range: impl RangeBounds<f64>) -> Self {
        let (start, stop) = scores(&range);
        Self::of(start, stop, Some("BYSCORE"))
    }

    /// By name, where all scores are the same.
    ///
    /// ```
    /// use dormouse_client::ZRange;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.zadd("names", [(0, "ada"), (0, "bob"), (0, "cy")]).await?;
    /// assert_eq!(client.zrange::<String>("names", ZRange::names("b".."c")).await?, ["bob"]);
    /// # Ok(()) });
    /// ```
    pub fn names<M: AsRef<[u8]>>(range: impl RangeBounds<M>) -> Self {
        let (start, stop) = members(&range);
        Self::of(start, stop, Some("BYLEX"))
    }

    /// From the end to the beginning.
    pub const fn reversed(mut self) -> Self {
        self.reversed = true;
        self
    }

    /// So many, after so many; for scores and names. A negative count is all of them.
    ///
    /// ```
    /// use dormouse_client::ZRange;
    ///
    /// let second_page = ZRange::scores(0.0..).limit(10, 10);
    /// # drop(second_page);
    /// ```
    pub const fn limit(mut self, offset: u64, count: i64) -> Self {
        self.limit = Some((offset, count));
        self
    }
}

impl ToArgs for ZRange {
    fn add_to(&self, args: &mut Args) {
        // Redis wants the larger end first where it goes backwards by score or name, but not by rank.
        let swap = self.reversed && self.by.is_some();
        let (start, stop) = if swap { (&self.stop, &self.start) } else { (&self.start, &self.stop) };
        args.push(start).push(stop).add(self.by).add(self.reversed.then_some("REV"));
        args.add(self.limit.map(|(offset, count)| ("LIMIT", offset, count)));
    }
}

/// Members with their scores, and the key of their set.
type Taken<T> = Option<(String, Vec<(T, f64)>)>;

impl Client {
    /// Adds members, each behind its score; how many are new.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zadd("z", [(1.5, "a"), (2.0, "b")]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn zadd(&self, key: impl ToArg, members: impl ToArgs) -> Command<u64> {
        self.write("ZADD").arg(key).arg(members)
    }

    /// Adds members with options; how many are new, or have changed.
    ///
    /// ```
    /// use dormouse_client::ZAddOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zadd_with("z", [(1, "a")], ZAddOptions::new().xx()).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zadd_with(&self, key: impl ToArg, members: impl ToArgs, options: impl ToArgs) -> Command<u64> {
        self.write("ZADD").arg(key).arg(options).arg(members)
    }

    /// Adds to a member's score under conditions; the score then, unless they were not met.
    ///
    /// ```
    /// use dormouse_client::ZAddOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zadd_incr("z", 1.5, "a", ZAddOptions::new().nx()).await?, Some(1.5));
    /// assert_eq!(client.zadd_incr("z", 1.5, "a", ZAddOptions::new().nx()).await?, None);
    /// # Ok(()) });
    /// ```
    pub fn zadd_incr(
        &self,
        key: impl ToArg,
        by: f64,
        member: impl ToArg,
        options: impl ToArgs,
    ) -> Command<Option<f64>> {
        self.write("ZADD").arg(key).arg(options).arg("INCR").arg(by).arg(member)
    }

    /// Adds to a member's score; the score then.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zincrby("z", 2.0, "a").await?, 2.0);
    /// # Ok(()) });
    /// ```
    pub fn zincrby(&self, key: impl ToArg, by: f64, member: impl ToArg) -> Command<f64> {
        self.write("ZINCRBY").arg(key).arg(by).arg(member)
    }

    /// Removes members; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zrem("z", ["a", "b"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zrem(&self, key: impl ToArg, members: impl ToArgs) -> Command<u64> {
        self.write("ZREM").arg(key).arg(members)
    }

    /// How many members there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zcard("z").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zcard(&self, key: impl ToArg) -> Command<u64> {
        self.read("ZCARD").arg(key)
    }

    /// How many members have a score in a range.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", [(1, "a"), (2, "b")]).await?;
    /// assert_eq!(client.zcount("z", 1.5..).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn zcount(&self, key: impl ToArg, range: impl RangeBounds<f64>) -> Command<u64> {
        self.read("ZCOUNT").arg(key).arg(scores(&range))
    }

    /// How many members have a name in a range, where all scores are the same.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", [(0, "a"), (0, "b")]).await?;
    /// assert_eq!(client.zlexcount("z", "b"..).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn zlexcount<M: AsRef<[u8]>>(&self, key: impl ToArg, range: impl RangeBounds<M>) -> Command<u64> {
        self.read("ZLEXCOUNT").arg(key).arg(members(&range))
    }

    /// The score of a member.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zscore("z", "a").await?, None);
    /// # Ok(()) });
    /// ```
    pub fn zscore(&self, key: impl ToArg, member: impl ToArg) -> Command<Option<f64>> {
        self.read("ZSCORE").arg(key).arg(member)
    }

    /// The scores of several members.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", (1.5, "a")).await?;
    /// assert_eq!(client.zmscore("z", ["a", "b"]).await?, [Some(1.5), None]);
    /// # Ok(()) });
    /// ```
    pub fn zmscore(&self, key: impl ToArg, members: impl ToArgs) -> Command<Vec<Option<f64>>> {
        self.read("ZMSCORE").arg(key).arg(members)
    }

    /// The rank of a member, from 0 for the lowest score.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", [(1, "a"), (2, "b")]).await?;
    /// assert_eq!(client.zrank("z", "b").await?, Some(1));
    /// # Ok(()) });
    /// ```
    pub fn zrank(&self, key: impl ToArg, member: impl ToArg) -> Command<Option<u64>> {
        self.read("ZRANK").arg(key).arg(member)
    }

    /// The rank of a member, from 0 for the highest score.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", [(1, "a"), (2, "b")]).await?;
    /// assert_eq!(client.zrevrank("z", "b").await?, Some(0));
    /// # Ok(()) });
    /// ```
    pub fn zrevrank(&self, key: impl ToArg, member: impl ToArg) -> Command<Option<u64>> {
        self.read("ZREVRANK").arg(key).arg(member)
    }

    /// Members of a range.
    ///
    /// ```
    /// use dormouse_client::ZRange;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.zadd("board", [(10, "ada"), (30, "bob"), (20, "cy")]).await?;
    /// let best: Vec<String> = client.zrange("board", ZRange::ranks(0, 1).reversed()).await?;
    /// assert_eq!(best, ["bob", "cy"]);
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a range is written where it is used")]
    pub fn zrange<T: FromValue>(&self, key: impl ToArg, range: ZRange) -> Command<Vec<T>> {
        self.read("ZRANGE").arg(key).arg(&range)
    }

    /// Members of a range with their scores.
    ///
    /// ```
    /// use dormouse_client::ZRange;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", (1.5, "a")).await?;
    /// let all: Vec<(String, f64)> = client.zrange_withscores("z", ZRange::ranks(0, -1)).await?;
    /// assert_eq!(all, [("a".to_owned(), 1.5)]);
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a range is written where it is used")]
    pub fn zrange_withscores<T: FromValue>(&self, key: impl ToArg, range: ZRange) -> Command<Vec<(T, f64)>> {
        self.read::<Pairs<T, f64>>("ZRANGE").arg(key).arg(&range).arg("WITHSCORES").map(|pairs| pairs.0)
    }

    /// Keeps the members of a range in another sorted set; how many there are.
    ///
    /// ```
    /// use dormouse_client::ZRange;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zrangestore("to", "z", ZRange::ranks(0, 9)).await?, 0);
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a range is written where it is used")]
    pub fn zrangestore(&self, to: impl ToArg, key: impl ToArg, range: ZRange) -> Command<u64> {
        self.write("ZRANGESTORE").arg(to).arg(key).arg(&range)
    }

    /// Removes the members of a range of ranks; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zremrangebyrank("z", 0, -101).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zremrangebyrank(&self, key: impl ToArg, start: i64, stop: i64) -> Command<u64> {
        self.write("ZREMRANGEBYRANK").arg(key).arg(start).arg(stop)
    }

    /// Removes the members with a score in a range; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zremrangebyscore("z", ..=1.0).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zremrangebyscore(&self, key: impl ToArg, range: impl RangeBounds<f64>) -> Command<u64> {
        self.write("ZREMRANGEBYSCORE").arg(key).arg(scores(&range))
    }

    /// Removes the members with a name in a range, where all scores are the same; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zremrangebylex("z", "a".."b").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zremrangebylex<M: AsRef<[u8]>>(&self, key: impl ToArg, range: impl RangeBounds<M>) -> Command<u64> {
        self.write("ZREMRANGEBYLEX").arg(key).arg(members(&range))
    }

    /// Takes up to so many members with the lowest scores.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", [(1, "a"), (2, "b")]).await?;
    /// assert_eq!(client.zpopmin::<String>("z", 1).await?, [("a".to_owned(), 1.0)]);
    /// # Ok(()) });
    /// ```
    pub fn zpopmin<T: FromValue>(&self, key: impl ToArg, count: u64) -> Command<Vec<(T, f64)>> {
        self.write::<Pairs<T, f64>>("ZPOPMIN").arg(key).arg(count).map(|pairs| pairs.0)
    }

    /// Takes up to so many members with the highest scores.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", [(1, "a"), (2, "b")]).await?;
    /// assert_eq!(client.zpopmax::<String>("z", 1).await?, [("b".to_owned(), 2.0)]);
    /// # Ok(()) });
    /// ```
    pub fn zpopmax<T: FromValue>(&self, key: impl ToArg, count: u64) -> Command<Vec<(T, f64)>> {
        self.write::<Pairs<T, f64>>("ZPOPMAX").arg(key).arg(count).map(|pairs| pairs.0)
    }

    /// Takes up to so many members from the first set that has any, from the low end (`Left`) or the high one; its key, too.
    ///
    /// ```
    /// use dormouse_client::Side;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.zadd("b", (1, "x")).await?;
    /// let (key, found) = client.zmpop::<String>(["a", "b"], Side::Left, 1).await?.unwrap();
    /// assert_eq!((key.as_str(), found), ("b", vec![("x".to_owned(), 1.0)]));
    /// # Ok(()) });
    /// ```
    pub fn zmpop<T: FromValue>(&self, keys: impl ToArgs, end: Side, count: u64) -> Command<Taken<T>> {
        let command = self.write::<Option<(String, Pairs<T, f64>)>>("ZMPOP").counted(keys);
        command.arg(low_or_high(end)).arg("COUNT").arg(count).map(|found| found.map(|(key, pairs)| (key, pairs.0)))
    }

    /// Takes members as [`zmpop`](Self::zmpop) does, and waits for some. Dormouse only.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::Side;
    ///
    /// # dormouse_client::example(async |client| {
    /// let found = client.bzmpop::<String>(["a", "b"], Side::Left, 1, Duration::from_millis(10)).await?;
    /// assert!(found.is_none());
    /// # Ok(()) });
    /// ```
    pub fn bzmpop<T: FromValue>(
        &self,
        keys: impl ToArgs,
        end: Side,
        count: u64,
        timeout: Duration,
    ) -> Command<Taken<T>> {
        let command = self.write::<Option<(String, Pairs<T, f64>)>>("BZMPOP").arg(timeout.as_secs_f64()).counted(keys);
        let command = command.arg(low_or_high(end)).arg("COUNT").arg(count).waits(timeout);
        command.map(|found| found.map(|(key, pairs)| (key, pairs.0)))
    }

    /// Takes the member with the lowest score from the first set that has any, and waits for one; its key, too. Dormouse
    /// only.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.zadd("due", (1, "job")).await?;
    /// let found: Option<(String, String, f64)> = client.bzpopmin("due", Duration::from_secs(5)).await?;
    /// assert_eq!(found, Some(("due".to_owned(), "job".to_owned(), 1.0)));
    /// # Ok(()) });
    /// ```
    pub fn bzpopmin<T: FromValue>(&self, keys: impl ToArgs, timeout: Duration) -> Command<Option<(String, T, f64)>> {
        self.write("BZPOPMIN").arg(keys).arg(timeout.as_secs_f64()).waits(timeout)
    }

    /// The same with the highest score.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.bzpopmax::<String>("due", Duration::from_millis(10)).await?, None);
    /// # Ok(()) });
    /// ```
    pub fn bzpopmax<T: FromValue>(&self, keys: impl ToArgs, timeout: Duration) -> Command<Option<(String, T, f64)>> {
        self.write("BZPOPMAX").arg(keys).arg(timeout.as_secs_f64()).waits(timeout)
    }

    /// Random members: up to so many different ones or, if negative, that many with repetitions.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", (1, "a")).await?;
    /// assert_eq!(client.zrandmember::<String>("z", 3).await?, ["a"]);
    /// # Ok(()) });
    /// ```
    pub fn zrandmember<T: FromValue>(&self, key: impl ToArg, count: i64) -> Command<Vec<T>> {
        self.read("ZRANDMEMBER").arg(key).arg(count)
    }

    /// The same with their scores.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", (1, "a")).await?;
    /// assert_eq!(client.zrandmember_withscores::<String>("z", 3).await?, [("a".to_owned(), 1.0)]);
    /// # Ok(()) });
    /// ```
    pub fn zrandmember_withscores<T: FromValue>(&self, key: impl ToArg, count: i64) -> Command<Vec<(T, f64)>> {
        self.read::<Pairs<T, f64>>("ZRANDMEMBER").arg(key).arg(count).arg("WITHSCORES").map(|pairs| pairs.0)
    }

    /// A page of members and scores, from a cursor; the first is `"0"`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("z", (1, "a")).await?;
    /// assert_eq!(client.zscan::<String>("z", "0", ()).await?.items, [("a".to_owned(), 1.0)]);
    /// # Ok(()) });
    /// ```
    pub fn zscan<T: FromValue>(
        &self,
        key: impl ToArg,
        cursor: &str,
        options: impl ToArgs,
    ) -> Command<Scanned<(T, f64)>> {
        let command = self.read::<(String, Pairs<T, f64>)>("ZSCAN").arg(scan_of(key, cursor, options));
        command.map(|(cursor, pairs)| Scanned { cursor, items: pairs.0 })
    }

    /// Members of any of the sets, with their scores.
    ///
    /// ```
    /// use dormouse_client::Aggregate;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.pipeline((client.zadd("a", (1, "x")), client.zadd("b", (2, "x")))).all().await?;
    /// assert_eq!(client.zunion::<String>(["a", "b"], Aggregate::Sum).await?, [("x".to_owned(), 3.0)]);
    /// # Ok(()) });
    /// ```
    pub fn zunion<T: FromValue>(&self, keys: impl ToArgs, how: Aggregate) -> Command<Vec<(T, f64)>> {
        self.read::<Pairs<T, f64>>("ZUNION").counted(keys).arg(how).arg("WITHSCORES").map(|pairs| pairs.0)
    }

    /// Keeps the members of any of the sets in another; how many there are.
    ///
    /// ```
    /// use dormouse_client::Aggregate;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zunionstore("to", ["a", "b"], Aggregate::Max).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zunionstore(&self, to: impl ToArg, keys: impl ToArgs, how: Aggregate) -> Command<u64> {
        self.write("ZUNIONSTORE").arg(to).counted(keys).arg(how)
    }

    /// Members of all of the sets, with their scores.
    ///
    /// ```
    /// use dormouse_client::Aggregate;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.pipeline((client.zadd("a", (1, "x")), client.zadd("b", (2, "x")))).all().await?;
    /// assert_eq!(client.zinter::<String>(["a", "b"], Aggregate::Min).await?, [("x".to_owned(), 1.0)]);
    /// # Ok(()) });
    /// ```
    pub fn zinter<T: FromValue>(&self, keys: impl ToArgs, how: Aggregate) -> Command<Vec<(T, f64)>> {
        self.read::<Pairs<T, f64>>("ZINTER").counted(keys).arg(how).arg("WITHSCORES").map(|pairs| pairs.0)
    }

    /// How many members all of the sets have in common.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zintercard(["a", "b"], ("LIMIT", 10)).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zintercard(&self, keys: impl ToArgs, options: impl ToArgs) -> Command<u64> {
        self.read("ZINTERCARD").counted(keys).arg(options)
    }

    /// Keeps the members of all of the sets in another; how many there are.
    ///
    /// ```
    /// use dormouse_client::Aggregate;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zinterstore("to", ["a", "b"], Aggregate::Sum).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zinterstore(&self, to: impl ToArg, keys: impl ToArgs, how: Aggregate) -> Command<u64> {
        self.write("ZINTERSTORE").arg(to).counted(keys).arg(how)
    }

    /// Members of the first set and of no other, with their scores.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.zadd("a", (1, "x")).await?;
    /// assert_eq!(client.zdiff::<String>(["a", "b"]).await?, [("x".to_owned(), 1.0)]);
    /// # Ok(()) });
    /// ```
    pub fn zdiff<T: FromValue>(&self, keys: impl ToArgs) -> Command<Vec<(T, f64)>> {
        self.read::<Pairs<T, f64>>("ZDIFF").counted(keys).arg("WITHSCORES").map(|pairs| pairs.0)
    }

    /// Keeps the members of the first set and of no other; how many there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.zdiffstore("to", ["a", "b"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn zdiffstore(&self, to: impl ToArg, keys: impl ToArgs) -> Command<u64> {
        self.write("ZDIFFSTORE").arg(to).counted(keys)
    }
}

const fn low_or_high(end: Side) -> &'static str {
    match end {
        Side::Left => "MIN",
        Side::Right => "MAX",
    }
}
