//! Arrays: strings in numbered slots, most of which may be empty. Since Redis 8.8.

use super::options;
use crate::args::{ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::FromValue;

options! {
    /// What [`Client::argrep`] looks for. Several conditions are alternatives, unless all must hold.
    ///
    /// ```
    /// use dormouse_client::ArraySearch;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.arset("a", 0, ["apple", "pear", "Plum"]).await?;
    /// assert_eq!(client.argrep("a", "-", "+", ArraySearch::new().glob("p*").no_case()).await?, [1, 2]);
    /// # Ok(()) });
    /// ```
    ArraySearch {
        /// Strings that have this in them.
        contains(text: impl ToArg) => ("MATCH", text);
        /// This string.
        exactly(text: impl ToArg) => ("EXACT", text);
        /// Strings that match a pattern as of `KEYS`.
        glob(pattern: impl ToArg) => ("GLOB", pattern);
        /// Strings that match a regular expression.
        regex(expression: impl ToArg) => ("RE", expression);
        /// All conditions must hold.
        all() => "AND";
        /// Capitals count as small letters.
        no_case() => "NOCASE";
        /// So many at most.
        limit(count: u64) => ("LIMIT", count);
    }
}

impl Client {
    /// Sets slots from one on; how many were empty.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.arset("a", 0, ["x", "y"]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn arset(&self, key: impl ToArg, index: u64, values: impl ToArgs) -> Command<u64> {
        self.write("ARSET").arg(key).arg(index).arg(values)
    }

    /// Sets slots, each behind its index; how many were empty.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.armset("a", [(0, "x"), (100, "y")]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn armset(&self, key: impl ToArg, slots: impl ToArgs) -> Command<u64> {
        self.write("ARMSET").arg(key).arg(slots)
    }

    /// What is in a slot.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.arset("a", 7, "x").await?;
    /// assert_eq!(client.arget::<String>("a", 7).await?.as_deref(), Some("x"));
    /// # Ok(()) });
    /// ```
    pub fn arget<T: FromValue>(&self, key: impl ToArg, index: u64) -> Command<Option<T>> {
        self.read("ARGET").arg(key).arg(index)
    }

    /// What is in several slots.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.arset("a", 7, 1).await?;
    /// assert_eq!(client.armget::<i64>("a", [7, 8]).await?, [Some(1), None]);
    /// # Ok(()) });
    /// ```
    pub fn armget<T: FromValue>(&self, key: impl ToArg, indexes: impl ToArgs) -> Command<Vec<Option<T>>> {
        self.read("ARMGET").arg(key).arg(indexes)
    }

    /// What is in the slots from one to another, the empty ones too.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.armset("a", [(0, 1), (2, 3)]).await?;
    /// assert_eq!(client.argetrange::<i64>("a", 0, 2).await?, [Some(1), None, Some(3)]);
    /// # Ok(()) });
    /// ```
    pub fn argetrange<T: FromValue>(&self, key: impl ToArg, start: u64, end: u64) -> Command<Vec<Option<T>>> {
        self.read("ARGETRANGE").arg(key).arg(start).arg(end)
    }

    /// The slots from one to another that have something, with their indexes; up to so many.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.armset("a", [(0, "x"), (900, "y")]).await?;
    /// assert_eq!(client.arscan::<String>("a", 1, 1_000, None).await?, [(900, "y".to_owned())]);
    /// # Ok(()) });
    /// ```
    pub fn arscan<T: FromValue>(
        &self,
        key: impl ToArg,
        start: u64,
        end: u64,
        limit: Option<u64>,
    ) -> Command<Vec<(u64, T)>> {
        self.read("ARSCAN").arg(key).arg(start).arg(end).arg(limit.map(|limit| ("LIMIT", limit)))
    }

    /// Which slots from one to another have what is looked for; `-` and `+` are the ends.
    ///
    /// ```
    /// use dormouse_client::ArraySearch;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.arset("a", 0, ["apple", "pear"]).await?;
    /// assert_eq!(client.argrep("a", "-", "+", ArraySearch::new().contains("ea")).await?, [1]);
    /// # Ok(()) });
    /// ```
    pub fn argrep(
        &self,
        key: impl ToArg,
        start: impl ToArg,
        end: impl ToArg,
        search: impl ToArgs,
    ) -> Command<Vec<u64>> {
        self.read("ARGREP").arg(key).arg(start).arg(end).arg(search)
    }

    /// How many slots have something.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.arcount("a").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn arcount(&self, key: impl ToArg) -> Command<u64> {
        self.read("ARCOUNT").arg(key)
    }

    /// The index behind the last slot that has something.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.arset("a", 99, "x").await?;
    /// assert_eq!(client.arlen("a").await?, 100);
    /// # Ok(()) });
    /// ```
    pub fn arlen(&self, key: impl ToArg) -> Command<u64> {
        self.read("ARLEN").arg(key)
    }

    /// Empties slots; how many had something.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.ardel("a", [1, 2]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn ardel(&self, key: impl ToArg, indexes: impl ToArgs) -> Command<u64> {
        self.write("ARDEL").arg(key).arg(indexes)
    }

    /// Empties ranges of slots; how many had something.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.arset("a", 0, ["x", "y", "z"]).await?;
    /// assert_eq!(client.ardelrange("a", [(0, 0), (2, 9)]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn ardelrange(&self, key: impl ToArg, ranges: impl ToArgs) -> Command<u64> {
        self.write("ARDELRANGE").arg(key).arg(ranges)
    }

    /// Appends strings, behind where the last was appended; the index of the last.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.arinsert("a", ["x", "y"]).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn arinsert(&self, key: impl ToArg, values: impl ToArgs) -> Command<u64> {
        self.write("ARINSERT").arg(key).arg(values)
    }

    /// Where the next string would be appended, if there is room.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.arnext("a").await?, Some(0));
    /// # Ok(()) });
    /// ```
    pub fn arnext(&self, key: impl ToArg) -> Command<Option<u64>> {
        self.read("ARNEXT").arg(key)
    }

    /// Says where the next string is appended; whether there is such an array.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(!client.arseek("a", 5).await?);
    /// # Ok(()) });
    /// ```
    pub fn arseek(&self, key: impl ToArg, index: u64) -> Command<bool> {
        self.write("ARSEEK").arg(key).arg(index)
    }

    /// Appends strings within so many slots, which are filled again from the first; the index of the last.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.arring("a", 3, ["x", "y", "z", "again"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn arring(&self, key: impl ToArg, slots: u64, values: impl ToArgs) -> Command<u64> {
        self.write("ARRING").arg(key).arg(slots).arg(values)
    }

    /// The strings that were appended last, up to so many, the newest at the end.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.arring("a", 3, ["v", "w", "x", "y"]).await?;
    /// assert_eq!(client.arlastitems::<String>("a", 2).await?, [Some("x".to_owned()), Some("y".to_owned())]);
    /// # Ok(()) });
    /// ```
    pub fn arlastitems<T: FromValue>(&self, key: impl ToArg, count: u64) -> Command<Vec<Option<T>>> {
        self.read("ARLASTITEMS").arg(key).arg(count)
    }

    /// Something of the slots from one to another as a whole: `SUM`, `MIN`, `MAX`, `AND`, `OR`, `XOR`, `USED`, or `MATCH` and a string.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.arset("a", 0, [1, 2, 3]).await?;
    /// assert_eq!(client.arop::<Option<f64>>("a", 0, 2, "SUM").await?, Some(6.0));
    /// # Ok(()) });
    /// ```
    pub fn arop<T: FromValue>(&self, key: impl ToArg, start: u64, end: u64, operation: impl ToArgs) -> Command<T> {
        self.read("AROP").arg(key).arg(start).arg(end).arg(operation)
    }

    /// What an array is made of, as the server lists it.
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.arset("a", 0, "x").await?;
    /// let about: HashMap<String, i64> = client.arinfo("a").await?;
    /// assert_eq!(about["count"], 1);
    /// # Ok(()) });
    /// ```
    pub fn arinfo<M: FromValue>(&self, key: impl ToArg) -> Command<M> {
        self.read("ARINFO").arg(key)
    }
}
