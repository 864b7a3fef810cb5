//! Lists.
//!
//! Commands that wait (`BLPOP` and kin) are Dormouse's: they are sent with `Dormouse-Block: true`, wait for at most 55 seconds, and
//! answer `None` if nothing came. Upstash refuses them.

use std::time::Duration;

use crate::args::{Args, ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::FromValue;

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where it begins.
    Left,
    /// Where it ends.
    Right,
}

impl ToArgs for Side {
    fn add_to(&self, args: &mut Args) {
        args.add(match self {
            Self::Left => "LEFT",
            Self::Right => "RIGHT",
        });
    }
}

impl ToArg for Side {}

/// On which side of an element something is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pivot {
    /// Before it.
    Before,
    /// Behind it.
    After,
}

impl ToArgs for Pivot {
    fn add_to(&self, args: &mut Args) {
        args.add(match self {
            Self::Before => "BEFORE",
            Self::After => "AFTER",
        });
    }
}

impl ToArg for Pivot {}

impl Client {
    /// Puts values before a list's first, one after the other; its length then.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.lpush("l", ["a", "b"]).await?, 2);
    /// assert_eq!(client.lrange::<String>("l", 0, -1).await?, ["b", "a"]);
    /// # Ok(()) });
    /// ```
    pub fn lpush(&self, key: impl ToArg, values: impl ToArgs) -> Command<u64> {
        self.write("LPUSH").arg(key).arg(values)
    }

    /// The same, if there is such a list.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.lpushx("l", "a").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn lpushx(&self, key: impl ToArg, values: impl ToArgs) -> Command<u64> {
        self.write("LPUSHX").arg(key).arg(values)
    }

    /// Puts values behind a list's last; its length then.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.rpush("l", ["a", "b"]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn rpush(&self, key: impl ToArg, values: impl ToArgs) -> Command<u64> {
        self.write("RPUSH").arg(key).arg(values)
    }

    /// The same, if there is such a list.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.rpushx("l", "a").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn rpushx(&self, key: impl ToArg, values: impl ToArgs) -> Command<u64> {
        self.write("RPUSHX").arg(key).arg(values)
    }

    /// Takes the first element.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["a", "b"]).await?;
    /// assert_eq!(client.lpop::<String>("l").await?.as_deref(), Some("a"));
    /// # Ok(()) });
    /// ```
    pub fn lpop<T: FromValue>(&self, key: impl ToArg) -> Command<Option<T>> {
        self.write("LPOP").arg(key)
    }

    /// Takes up to so many elements from the beginning.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["a", "b", "c"]).await?;
    /// assert_eq!(client.lpop_count::<String>("l", 2).await?, ["a", "b"]);
    /// # Ok(()) });
    /// ```
    pub fn lpop_count<T: FromValue>(&self, key: impl ToArg, count: u64) -> Command<Vec<T>> {
        self.write::<Option<Vec<T>>>("LPOP").arg(key).arg(count).map(Option::unwrap_or_default)
    }

    /// Takes the last element.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.rpop::<String>("l").await?, None);
    /// # Ok(()) });
    /// ```
    pub fn rpop<T: FromValue>(&self, key: impl ToArg) -> Command<Option<T>> {
        self.write("RPOP").arg(key)
    }

    /// Takes up to so many elements from the end, the last first.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", [1, 2, 3]).await?;
    /// assert_eq!(client.rpop_count::<i64>("l", 2).await?, [3, 2]);
    /// # Ok(()) });
    /// ```
    pub fn rpop_count<T: FromValue>(&self, key: impl ToArg, count: u64) -> Command<Vec<T>> {
        self.write::<Option<Vec<T>>>("RPOP").arg(key).arg(count).map(Option::unwrap_or_default)
    }

    /// Takes up to so many elements from the first list that has any; its key, too.
    ///
    /// ```
    /// use dormouse_client::Side;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.rpush("b", [1, 2]).await?;
    /// let found: Option<(String, Vec<i64>)> = client.lmpop(["a", "b"], Side::Right, 1).await?;
    /// assert_eq!(found, Some(("b".to_owned(), vec![2])));
    /// # Ok(()) });
    /// ```
    pub fn lmpop<T: FromValue>(&self, keys: impl ToArgs, side: Side, count: u64) -> Command<Option<(String, Vec<T>)>> {
        self.write("LMPOP").counted(keys).arg(side).arg("COUNT").arg(count)
    }

    /// Elements from one place to another, both included; negative ones count from the end.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", [1, 2, 3]).await?;
    /// assert_eq!(client.lrange::<i64>("l", -2, -1).await?, [2, 3]);
    /// # Ok(()) });
    /// ```
    pub fn lrange<T: FromValue>(&self, key: impl ToArg, start: i64, stop: i64) -> Command<Vec<T>> {
        self.read("LRANGE").arg(key).arg(start).arg(stop)
    }

    /// The element in a place.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", [1, 2, 3]).await?;
    /// assert_eq!(client.lindex::<i64>("l", -1).await?, Some(3));
    /// # Ok(()) });
    /// ```
    pub fn lindex<T: FromValue>(&self, key: impl ToArg, index: i64) -> Command<Option<T>> {
        self.read("LINDEX").arg(key).arg(index)
    }

    /// Puts a value beside the first element that is like `element`; the length then, -1 if there is no such element, 0 if
    /// there is no such list.
    ///
    /// ```
    /// use dormouse_client::Pivot;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["a", "c"]).await?;
    /// assert_eq!(client.linsert("l", Pivot::Before, "c", "b").await?, 3);
    /// # Ok(()) });
    /// ```
    pub fn linsert(&self, key: impl ToArg, pivot: Pivot, element: impl ToArg, value: impl ToArg) -> Command<i64> {
        self.write("LINSERT").arg(key).arg(pivot).arg(element).arg(value)
    }

    /// How many elements there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.llen("l").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn llen(&self, key: impl ToArg) -> Command<u64> {
        self.read("LLEN").arg(key)
    }

    /// Moves an element from one end of a list to an end of another, or of the same.
    ///
    /// ```
    /// use dormouse_client::Side;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.rpush("todo", ["a", "b"]).await?;
    /// let job: Option<String> = client.lmove("todo", "doing", Side::Left, Side::Right).await?;
    /// assert_eq!(job.as_deref(), Some("a"));
    /// # Ok(()) });
    /// ```
    pub fn lmove<T: FromValue>(&self, from: impl ToArg, to: impl ToArg, take: Side, put: Side) -> Command<Option<T>> {
        self.write("LMOVE").arg(from).arg(to).arg(take).arg(put)
    }

    /// Where an element is first.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["a", "b", "b"]).await?;
    /// assert_eq!(client.lpos("l", "b").await?, Some(1));
    /// # Ok(()) });
    /// ```
    pub fn lpos(&self, key: impl ToArg, element: impl ToArg) -> Command<Option<u64>> {
        self.read("LPOS").arg(key).arg(element)
    }

    /// Where an element is: up to so many places (all of them with 0), from the one of that rank on.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["b", "a", "b"]).await?;
    /// assert_eq!(client.lpos_all("l", "b", 1, 0).await?, [0, 2]);
    /// # Ok(()) });
    /// ```
    pub fn lpos_all(&self, key: impl ToArg, element: impl ToArg, rank: i64, count: u64) -> Command<Vec<u64>> {
        self.read("LPOS").arg(key).arg(element).arg(("RANK", rank, "COUNT", count))
    }

    /// Removes elements like this one: so many from the beginning, from the end if negative, all of them with 0. How many
    /// there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["b", "a", "b"]).await?;
    /// assert_eq!(client.lrem("l", 0, "b").await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn lrem(&self, key: impl ToArg, count: i64, element: impl ToArg) -> Command<u64> {
        self.write("LREM").arg(key).arg(count).arg(element)
    }

    /// Puts another element in a place.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["a", "b"]).await?;
    /// client.lset("l", 0, "A").await?;
    /// # Ok(()) });
    /// ```
    pub fn lset(&self, key: impl ToArg, index: i64, value: impl ToArg) -> Command<()> {
        self.write("LSET").arg(key).arg(index).arg(value)
    }

    /// Keeps the elements from one place to another, and no others.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("log", [1, 2, 3]).await?;
    /// client.ltrim("log", -2, -1).await?;
    /// assert_eq!(client.llen("log").await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn ltrim(&self, key: impl ToArg, start: i64, stop: i64) -> Command<()> {
        self.write("LTRIM").arg(key).arg(start).arg(stop)
    }

    /// Takes the first element of the first list that has any, and waits for one; its key, too. Dormouse only.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.rpush("jobs", "one").await?;
    /// let job: Option<(String, String)> = client.blpop("jobs", Duration::from_secs(5)).await?;
    /// assert_eq!(job, Some(("jobs".to_owned(), "one".to_owned())));
    /// # Ok(()) });
    /// ```
    pub fn blpop<T: FromValue>(&self, keys: impl ToArgs, timeout: Duration) -> Command<Option<(String, T)>> {
        self.write("BLPOP").arg(keys).arg(timeout.as_secs_f64()).waits(timeout)
    }

    /// The same with the last element.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # dormouse_client::example(async |client| {
    /// let job: Option<(String, String)> = client.brpop("jobs", Duration::from_millis(10)).await?;
    /// assert_eq!(job, None);
    /// # Ok(()) });
    /// ```
    pub fn brpop<T: FromValue>(&self, keys: impl ToArgs, timeout: Duration) -> Command<Option<(String, T)>> {
        self.write("BRPOP").arg(keys).arg(timeout.as_secs_f64()).waits(timeout)
    }

    /// Moves an element as [`lmove`](Self::lmove) does, and waits for one. Dormouse only.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::Side;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.rpush("todo", "a").await?;
    /// let job = client.blmove::<String>("todo", "doing", Side::Left, Side::Right, Duration::from_secs(5)).await?;
    /// assert_eq!(job.as_deref(), Some("a"));
    /// # Ok(()) });
    /// ```
    pub fn blmove<T: FromValue>(
        &self,
        from: impl ToArg,
        to: impl ToArg,
        take: Side,
        put: Side,
        timeout: Duration,
    ) -> Command<Option<T>> {
        self.write("BLMOVE").arg(from).arg(to).arg(take).arg(put).arg(timeout.as_secs_f64()).waits(timeout)
    }

    /// Takes elements as [`lmpop`](Self::lmpop) does, and waits for some. Dormouse only.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::Side;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.rpush("b", [1, 2]).await?;
    /// let found = client.blmpop::<i64>(["a", "b"], Side::Left, 10, Duration::from_secs(5)).await?;
    /// assert_eq!(found, Some(("b".to_owned(), vec![1, 2])));
    /// # Ok(()) });
    /// ```
    pub fn blmpop<T: FromValue>(
        &self,
        keys: impl ToArgs,
        side: Side,
        count: u64,
        timeout: Duration,
    ) -> Command<Option<(String, Vec<T>)>> {
        let command = self.write("BLMPOP").arg(timeout.as_secs_f64()).counted(keys);
        command.arg(side).arg("COUNT").arg(count).waits(timeout)
    }
}
