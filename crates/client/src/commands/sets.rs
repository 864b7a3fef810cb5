//! Sets.

use super::keys::scan_of;
use super::{Scanned, options};
use crate::args::{ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::FromValue;

options! {
    /// Options of [`Client::sintercard`] and [`Client::sunioncard`].
    ///
    /// ```
    /// use dormouse_client::SetCardOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.sadd("a", [1, 2, 3]).await?;
    /// assert_eq!(client.sintercard(["a", "a"], SetCardOptions::new().limit(2)).await?, 2);
    /// # Ok(()) });
    /// ```
    SetCardOptions {
        /// Stop counting there.
        limit(count: u64) => ("LIMIT", count);
    }
}

impl Client {
    /// Adds members; how many are new.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.sadd("s", ["a", "b", "a"]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn sadd(&self, key: impl ToArg, members: impl ToArgs) -> Command<u64> {
        self.write("SADD").arg(key).arg(members)
    }

    /// Removes members; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.srem("s", "a").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn srem(&self, key: impl ToArg, members: impl ToArgs) -> Command<u64> {
        self.write("SREM").arg(key).arg(members)
    }

    /// How many members there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.scard("s").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn scard(&self, key: impl ToArg) -> Command<u64> {
        self.read("SCARD").arg(key)
    }

    /// All members: as a `Vec`, or a set.
    ///
    /// ```
    /// use std::collections::HashSet;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.sadd("s", ["a", "b"]).await?;
    /// let all: HashSet<String> = client.smembers("s").await?;
    /// assert!(all.contains("a"));
    /// # Ok(()) });
    /// ```
    pub fn smembers<C: FromValue>(&self, key: impl ToArg) -> Command<C> {
        self.read("SMEMBERS").arg(key)
    }

    /// Whether something is a member.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(!client.sismember("s", "a").await?);
    /// # Ok(()) });
    /// ```
    pub fn sismember(&self, key: impl ToArg, member: impl ToArg) -> Command<bool> {
        self.read("SISMEMBER").arg(key).arg(member)
    }

    /// Whether several are members.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.sadd("s", "a").await?;
    /// assert_eq!(client.smismember("s", ["a", "b"]).await?, [true, false]);
    /// # Ok(()) });
    /// ```
    pub fn smismember(&self, key: impl ToArg, members: impl ToArgs) -> Command<Vec<bool>> {
        self.read("SMISMEMBER").arg(key).arg(members)
    }

    /// Moves a member to another set; whether there was one.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.sadd("from", "a").await?;
    /// assert!(client.smove("from", "to", "a").await?);
    /// # Ok(()) });
    /// ```
    pub fn smove(&self, from: impl ToArg, to: impl ToArg, member: impl ToArg) -> Command<bool> {
        self.write("SMOVE").arg(from).arg(to).arg(member)
    }

    /// Takes a random member.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.sadd("s", "a").await?;
    /// assert_eq!(client.spop::<String>("s").await?.as_deref(), Some("a"));
    /// # Ok(()) });
    /// ```
    pub fn spop<T: FromValue>(&self, key: impl ToArg) -> Command<Option<T>> {
        self.write("SPOP").arg(key)
    }

    /// Takes up to so many random members.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.sadd("s", [1, 2, 3]).await?;
    /// assert_eq!(client.spop_count::<i64>("s", 2).await?.len(), 2);
    /// # Ok(()) });
    /// ```
    pub fn spop_count<T: FromValue>(&self, key: impl ToArg, count: u64) -> Command<Vec<T>> {
        self.write("SPOP").arg(key).arg(count)
    }

    /// Random members: up to so many different ones or, if negative, that many with repetitions.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.sadd("s", "a").await?;
    /// assert_eq!(client.srandmember::<String>("s", -2).await?, ["a", "a"]);
    /// # Ok(()) });
    /// ```
    pub fn srandmember<T: FromValue>(&self, key: impl ToArg, count: i64) -> Command<Vec<T>> {
        self.read("SRANDMEMBER").arg(key).arg(count)
    }

    /// A page of members, from a cursor; the first is `"0"`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.sadd("s", "a").await?;
    /// assert_eq!(client.sscan::<String>("s", "0", ()).await?.items, ["a"]);
    /// # Ok(()) });
    /// ```
    pub fn sscan<T: FromValue>(&self, key: impl ToArg, cursor: &str, options: impl ToArgs) -> Command<Scanned<T>> {
        self.read("SSCAN").arg(scan_of(key, cursor, options))
    }

    /// Members of all of the sets.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.pipeline((client.sadd("a", [1, 2]), client.sadd("b", [2, 3]))).all().await?;
    /// assert_eq!(client.sinter::<Vec<i64>>(["a", "b"]).await?, [2]);
    /// # Ok(()) });
    /// ```
    pub fn sinter<C: FromValue>(&self, keys: impl ToArgs) -> Command<C> {
        self.read("SINTER").arg(keys)
    }

    /// How many members all of the sets have in common.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.sintercard(["a", "b"], ()).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn sintercard(&self, keys: impl ToArgs, options: impl ToArgs) -> Command<u64> {
        self.read("SINTERCARD").counted(keys).arg(options)
    }

    /// Keeps the members of all of the sets in another; how many there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.sinterstore("to", ["a", "b"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn sinterstore(&self, to: impl ToArg, keys: impl ToArgs) -> Command<u64> {
        self.write("SINTERSTORE").arg(to).arg(keys)
    }

    /// Members of any of the sets.
    ///
    /// ```
    /// use std::collections::BTreeSet;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.pipeline((client.sadd("a", [1, 2]), client.sadd("b", [2, 3]))).all().await?;
    /// assert_eq!(client.sunion::<BTreeSet<i64>>(["a", "b"]).await?, BTreeSet::from([1, 2, 3]));
    /// # Ok(()) });
    /// ```
    pub fn sunion<C: FromValue>(&self, keys: impl ToArgs) -> Command<C> {
        self.read("SUNION").arg(keys)
    }

    /// How many members the sets have together. Since Redis 8.8.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.sadd("a", [1, 2]).await?;
    /// assert_eq!(client.sunioncard(["a", "b"], ()).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn sunioncard(&self, keys: impl ToArgs, options: impl ToArgs) -> Command<u64> {
        self.read("SUNIONCARD").counted(keys).arg(options)
    }

    /// Keeps the members of any of the sets in another; how many there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.sunionstore("to", ["a", "b"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn sunionstore(&self, to: impl ToArg, keys: impl ToArgs) -> Command<u64> {
        self.write("SUNIONSTORE").arg(to).arg(keys)
    }

    /// Members of the first set and of no other.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.pipeline((client.sadd("a", [1, 2]), client.sadd("b", [2, 3]))).all().await?;
    /// assert_eq!(client.sdiff::<Vec<i64>>(["a", "b"]).await?, [1]);
    /// # Ok(()) });
    /// ```
    pub fn sdiff<C: FromValue>(&self, keys: impl ToArgs) -> Command<C> {
        self.read("SDIFF").arg(keys)
    }

    /// Keeps the members of the first set and of no other; how many there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.sdiffstore("to", ["a", "b"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn sdiffstore(&self, to: impl ToArg, keys: impl ToArgs) -> Command<u64> {
        self.write("SDIFFSTORE").arg(to).arg(keys)
    }
}
