//! Strings: text, numbers, documents, bytes.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{millis, options, unix_millis};
use crate::args::{ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Json, Value};

options! {
    /// Options of [`Client::set_with`] and [`Client::set_get`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::SetOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let first = SetOptions::new().nx().expires_in(Duration::from_secs(30));
    /// assert!(client.set_with("lock", "mine", &first).await?);
    /// assert!(!client.set_with("lock", "theirs", &first).await?);
    /// # Ok(()) });
    /// ```
    SetOptions {
        /// Only if there is no such key.
        nx() => "NX";
        /// Only if there is such a key.
        xx() => "XX";
        /// Only if the value is this one.
        if_equals(value: impl ToArg) => ("IFEQ", value);
        /// Only if the value is another one.
        if_differs(value: impl ToArg) => ("IFNE", value);
        /// The key lives so long.
        expires_in(ttl: Duration) => ("PX", millis(ttl));
        /// The key lives until then.
        expires_at(time: SystemTime) => ("PXAT", unix_millis(time));
        /// The key lives as long as it did.
        keep_ttl() => "KEEPTTL";
    }
}

options! {
    /// What [`Client::getex`] does to the key's deadline.
    ///
    /// ```
    /// use dormouse_client::GetExpiry;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// let value: Option<String> = client.getex("k", GetExpiry::new().persist()).await?;
    /// assert_eq!(value.as_deref(), Some("v"));
    /// # Ok(()) });
    /// ```
    GetExpiry {
        /// It lives so long from now on.
        expires_in(ttl: Duration) => ("PX", millis(ttl));
        /// It lives until then.
        expires_at(time: SystemTime) => ("PXAT", unix_millis(time));
        /// It lives for ever.
        persist() => "PERSIST";
    }
}

options! {
    /// Options of [`Client::increx`].
    ///
    /// ```
    /// use dormouse_client::CountOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let options = CountOptions::new().by(10).at_most(15).saturate();
    /// assert_eq!(client.increx("n", &options).await?, (10, 10));
    /// assert_eq!(client.increx("n", &options).await?, (15, 5));
    /// # Ok(()) });
    /// ```
    CountOptions {
        /// Add so many instead of one.
        by(number: i64) => ("BYINT", number);
        /// Never below that.
        at_least(number: i64) => ("LBOUND", number);
        /// Never above that.
        at_most(number: i64) => ("UBOUND", number);
        /// What would leave the bounds goes to the bound, instead of changing nothing.
        saturate() => "SATURATE";
        /// The key lives so long.
        expires_in(ttl: Duration) => ("PX", millis(ttl));
        /// The key lives so long, if it has no deadline yet.
        expires_once(ttl: Duration) => ("PX", millis(ttl), "ENX");
        /// The key lives for ever.
        persist() => "PERSIST";
    }
}

impl Client {
    /// The value of a key.
    ///
    /// The type asked for says how to read it: `String`, a number, [`Bytes`], [`Json`]. Nothing is guessed from the value.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("answer", 42).await?;
    /// assert_eq!(client.get::<i64>("answer").await?, Some(42));
    /// assert_eq!(client.get::<String>("answer").await?.as_deref(), Some("42"));
    /// assert_eq!(client.get::<String>("missing").await?, None);
    /// # Ok(()) });
    /// ```
    pub fn get<T: FromValue>(&self, key: impl ToArg) -> Command<Option<T>> {
        self.read("GET").arg(key)
    }

    /// The value of a key as it is.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("picture", b"\xff\xd8\x00").await?;
    /// assert_eq!(client.get_bytes("picture").await?.as_deref(), Some(&b"\xff\xd8\x00"[..]));
    /// # Ok(()) });
    /// ```
    pub fn get_bytes(&self, key: impl ToArg) -> Command<Option<Bytes>> {
        self.get(key)
    }

    /// The value of a key, which was kept as JSON.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set_json("point", &(1, 2)).await?;
    /// let (x, y): (i32, i32) = client.get_json("point").await?.unwrap();
    /// assert_eq!((x, y), (1, 2));
    /// # Ok(()) });
    /// ```
    pub fn get_json<T: DeserializeOwned + 'static>(&self, key: impl ToArg) -> Command<Option<T>> {
        self.get::<Json<T>>(key).map(|found| found.map(|Json(value)| value))
    }

    /// Sets a key, for ever.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("name", "Ada").await?;
    /// # Ok(()) });
    /// ```
    pub fn set(&self, key: impl ToArg, value: impl ToArg) -> Command<()> {
        self.write("SET").arg(key).arg(value)
    }

    /// Sets a key to something as JSON, for ever. With options: `set_with(key, Json(&value), …)`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set_json("primes", &[2, 3, 5]).await?;
    /// assert_eq!(client.get::<String>("primes").await?.as_deref(), Some("[2,3,5]"));
    /// # Ok(()) });
    /// ```
    pub fn set_json(&self, key: impl ToArg, value: &(impl Serialize + ?Sized)) -> Command<()> {
        self.set(key, Json(value))
    }

    /// Sets a key with options; whether it was set.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::SetOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let options = SetOptions::new().expires_in(Duration::from_secs(60));
    /// assert!(client.set_with("session", "data", options).await?);
    /// # Ok(()) });
    /// ```
    pub fn set_with(&self, key: impl ToArg, value: impl ToArg, options: impl ToArgs) -> Command<bool> {
        self.write::<Value>("SET").arg(key).arg(value).arg(options).map(|reply| !reply.is_null())
    }

    /// Sets a key with options, and returns the value it had, whether it was set or not.
    ///
    /// ```
    /// use dormouse_client::SetOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "old").await?;
    /// let before: Option<String> = client.set_get("k", "new", SetOptions::new()).await?;
    /// assert_eq!(before.as_deref(), Some("old"));
    /// # Ok(()) });
    /// ```
    pub fn set_get<T: FromValue>(
        &self,
        key: impl ToArg,
        value: impl ToArg,
        options: impl ToArgs,
    ) -> Command<Option<T>> {
        self.write("SET").arg(key).arg(value).arg("GET").arg(options)
    }

    /// The values of several keys.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.mset([("a", 1), ("b", 2)]).await?;
    /// assert_eq!(client.mget::<i64>(["a", "x", "b"]).await?, [Some(1), None, Some(2)]);
    /// # Ok(()) });
    /// ```
    pub fn mget<T: FromValue>(&self, keys: impl ToArgs) -> Command<Vec<Option<T>>> {
        self.read("MGET").arg(keys)
    }

    /// Sets several keys as one: pairs, or a map.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.mset(std::collections::BTreeMap::from([("a", "1"), ("b", "2")])).await?;
    /// # Ok(()) });
    /// ```
    pub fn mset(&self, pairs: impl ToArgs) -> Command<()> {
        self.write("MSET").arg(pairs)
    }

    /// Sets several keys if there is none of them; whether it did.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.msetnx([("a", 1), ("b", 2)]).await?);
    /// assert!(!client.msetnx([("b", 1), ("c", 2)]).await?);
    /// # Ok(()) });
    /// ```
    pub fn msetnx(&self, pairs: impl ToArgs) -> Command<bool> {
        self.write("MSETNX").arg(pairs)
    }

    /// Sets several keys with the same options; whether they were set. Since Redis 8.4.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::SetOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let options = SetOptions::new().nx().expires_in(Duration::from_secs(60));
    /// assert!(client.msetex(&[("a", 1), ("b", 2)], &options).await?);
    /// # Ok(()) });
    /// ```
    pub fn msetex(&self, pairs: &[(impl ToArg, impl ToArg)], options: impl ToArgs) -> Command<bool> {
        self.write("MSETEX").arg(pairs.len()).arg(pairs).arg(options)
    }

    /// The value of a key, which is removed.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("once", "secret").await?;
    /// assert_eq!(client.getdel::<String>("once").await?.as_deref(), Some("secret"));
    /// assert_eq!(client.getdel::<String>("once").await?, None);
    /// # Ok(()) });
    /// ```
    pub fn getdel<T: FromValue>(&self, key: impl ToArg) -> Command<Option<T>> {
        self.write("GETDEL").arg(key)
    }

    /// The value of a key, whose deadline is changed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::GetExpiry;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("session", "data").await?;
    /// let longer = GetExpiry::new().expires_in(Duration::from_secs(600));
    /// assert_eq!(client.getex::<String>("session", longer).await?.as_deref(), Some("data"));
    /// # Ok(()) });
    /// ```
    pub fn getex<T: FromValue>(&self, key: impl ToArg, expiry: GetExpiry) -> Command<Option<T>> {
        self.write("GETEX").arg(key).arg(expiry)
    }

    /// Removes a key if its value is this one; whether it did. Since Redis 8.4.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("lock", "mine").await?;
    /// assert!(!client.delete_if_equals("lock", "theirs").await?);
    /// assert!(client.delete_if_equals("lock", "mine").await?);
    /// # Ok(()) });
    /// ```
    pub fn delete_if_equals(&self, key: impl ToArg, value: impl ToArg) -> Command<bool> {
        self.write("DELEX").arg(key).arg("IFEQ").arg(value)
    }

    /// A hash of the value, as 16 hexadecimal digits, for comparing without sending it. Since Redis 8.4.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert_eq!(client.digest("k").await?.unwrap().len(), 16);
    /// # Ok(()) });
    /// ```
    pub fn digest(&self, key: impl ToArg) -> Command<Option<String>> {
        self.read("DIGEST").arg(key)
    }

    /// Appends to a value; its length then.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.append("log", "line\n").await?, 5);
    /// # Ok(()) });
    /// ```
    pub fn append(&self, key: impl ToArg, value: impl ToArg) -> Command<u64> {
        self.write("APPEND").arg(key).arg(value)
    }

    /// The length of a value in bytes.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "hello").await?;
    /// assert_eq!(client.strlen("k").await?, 5);
    /// # Ok(()) });
    /// ```
    pub fn strlen(&self, key: impl ToArg) -> Command<u64> {
        self.read("STRLEN").arg(key)
    }

    /// Part of a value, both ends included; negative ones count from its end.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "hello").await?;
    /// assert_eq!(client.getrange::<String>("k", 1, -2).await?, "ell");
    /// # Ok(()) });
    /// ```
    pub fn getrange<T: FromValue>(&self, key: impl ToArg, start: i64, end: i64) -> Command<T> {
        self.read("GETRANGE").arg(key).arg(start).arg(end)
    }

    /// Overwrites part of a value; its length then.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "hello").await?;
    /// assert_eq!(client.setrange("k", 4, "!!").await?, 6);
    /// # Ok(()) });
    /// ```
    pub fn setrange(&self, key: impl ToArg, offset: u64, value: impl ToArg) -> Command<u64> {
        self.write("SETRANGE").arg(key).arg(offset).arg(value)
    }

    /// Adds one.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.incr("n").await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn incr(&self, key: impl ToArg) -> Command<i64> {
        self.write("INCR").arg(key)
    }

    /// Adds a number.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("n", 9_007_199_254_740_993_i64).await?;
    /// assert_eq!(client.incrby("n", 2).await?, 9_007_199_254_740_995);
    /// # Ok(()) });
    /// ```
    pub fn incrby(&self, key: impl ToArg, by: i64) -> Command<i64> {
        self.write("INCRBY").arg(key).arg(by)
    }

    /// Counts within bounds, with a deadline; the number then, and what was added. Since Redis 8.8.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::CountOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let limit = CountOptions::new().at_most(2).expires_once(Duration::from_secs(60));
    /// assert_eq!(client.increx("calls", &limit).await?, (1, 1));
    /// assert_eq!(client.increx("calls", &limit).await?, (2, 1));
    /// assert_eq!(client.increx("calls", &limit).await?, (2, 0));
    /// # Ok(()) });
    /// ```
    pub fn increx(&self, key: impl ToArg, options: impl ToArgs) -> Command<(i64, i64)> {
        self.write("INCREX").arg(key).arg(options)
    }

    /// Adds a number that may have a fraction.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.incrbyfloat("n", 1.5).await?, 1.5);
    /// # Ok(()) });
    /// ```
    pub fn incrbyfloat(&self, key: impl ToArg, by: f64) -> Command<f64> {
        self.write("INCRBYFLOAT").arg(key).arg(by)
    }

    /// Takes one away.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.decr("n").await?, -1);
    /// # Ok(()) });
    /// ```
    pub fn decr(&self, key: impl ToArg) -> Command<i64> {
        self.write("DECR").arg(key)
    }

    /// Takes a number away.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.decrby("n", 5).await?, -5);
    /// # Ok(()) });
    /// ```
    pub fn decrby(&self, key: impl ToArg, by: i64) -> Command<i64> {
        self.write("DECRBY").arg(key).arg(by)
    }

    /// The longest common subsequence of two values.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.mset([("a", "ohmytext"), ("b", "mynewtext")]).await?;
    /// assert_eq!(client.lcs::<String>("a", "b").await?, "mytext");
    /// # Ok(()) });
    /// ```
    pub fn lcs<T: FromValue>(&self, first: impl ToArg, second: impl ToArg) -> Command<T> {
        self.read("LCS").arg(first).arg(second)
    }

    /// The length of the longest common subsequence of two values.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.mset([("a", "ohmytext"), ("b", "mynewtext")]).await?;
    /// assert_eq!(client.lcs_len("a", "b").await?, 6);
    /// # Ok(()) });
    /// ```
    pub fn lcs_len(&self, first: impl ToArg, second: impl ToArg) -> Command<u64> {
        self.read("LCS").arg(first).arg(second).arg("LEN")
    }
}
