//! Keys of any type: whether they exist, how long they live, what they are called.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{millis, options, unix_millis};
use crate::args::{Args, ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Mismatch, Value};

/// How long a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ttl {
    /// There is no such key, or field.
    Missing,
    /// For ever.
    Persistent,
    /// So long; where a moment was asked for, so long after the Unix epoch.
    In(Duration),
}

impl Ttl {
    /// The duration, if there is one.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert!(client.ttl("k").await?.is_none());
    /// # Ok(()) });
    /// ```
    pub const fn duration(self) -> Option<Duration> {
        match self {
            Self::In(duration) => Some(duration),
            Self::Missing | Self::Persistent => None,
        }
    }

    /// Whether there is a duration.
    pub const fn is_some(self) -> bool {
        matches!(self, Self::In(_))
    }

    /// Whether there is none.
    pub const fn is_none(self) -> bool {
        !self.is_some()
    }

    pub(crate) fn of(number: i64, unit: fn(u64) -> Duration) -> Self {
        match number {
            -1 => Self::Persistent,
            _ => u64::try_from(number).map_or(Self::Missing, |number| Self::In(unit(number))),
        }
    }
}

options! {
    /// When [`Client::expire_with`] sets a deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::ExpireOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert!(!client.expire_with("k", Duration::from_secs(9), ExpireOptions::new().xx()).await?);
    /// # Ok(()) });
    /// ```
    ExpireOptions {
        /// Only if the key has no deadline.
        nx() => "NX";
        /// Only if the key has a deadline.
        xx() => "XX";
        /// Only if the deadline comes to be later.
        gt() => "GT";
        /// Only if the deadline comes to be sooner.
        lt() => "LT";
    }
}

options! {
    /// Options of [`Client::scan`] and its kin.
    ///
    /// ```
    /// use dormouse_client::ScanOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.mset([("user:1", "a"), ("post:1", "b")]).await?;
    /// let page = client.scan::<String>("0", ScanOptions::new().matching("user:*").count(100)).await?;
    /// assert_eq!(page.items, ["user:1"]);
    /// # Ok(()) });
    /// ```
    ScanOptions {
        /// Only names that match a pattern.
        matching(pattern: impl ToArg) => ("MATCH", pattern);
        /// How many to look at, about.
        count(count: u64) => ("COUNT", count);
        /// Only keys of a type, such as `hash`; for `SCAN`.
        of_type(kind: &str) => ("TYPE", kind);
        /// Fields without their values; for `HSCAN`.
        no_values() => "NOVALUES";
    }
}

options! {
    /// Options of [`Client::sort`].
    ///
    /// ```
    /// use dormouse_client::SortOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["b", "c", "a"]).await?;
    /// let sorted: Vec<String> = client.sort("l", SortOptions::new().alpha().desc().limit(0, 2)).await?;
    /// assert_eq!(sorted, ["c", "b"]);
    /// # Ok(()) });
    /// ```
    SortOptions {
        /// By what the keys of a pattern hold, in place of the elements; `nosort` keeps their order.
        by(pattern: impl ToArg) => ("BY", pattern);
        /// So many, after so many.
        limit(offset: i64, count: i64) => ("LIMIT", offset, count);
        /// What the keys of a pattern hold, in place of the elements; `#` is the element.
        get(pattern: impl ToArg) => ("GET", pattern);
        /// The largest first.
        desc() => "DESC";
        /// As text, not as numbers.
        alpha() => "ALPHA";
    }
}

options! {
    /// Options of [`Client::restore`].
    ///
    /// ```
    /// use dormouse_client::RestoreOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// let dump = client.dump("k").await?.unwrap();
    /// client.restore("k", None, &dump, RestoreOptions::new().replace()).await?;
    /// # Ok(()) });
    /// ```
    RestoreOptions {
        /// In place of a key there is.
        replace() => "REPLACE";
        /// As if it had not been used for so many seconds.
        idle_seconds(seconds: u64) => ("IDLETIME", seconds);
        /// As if it had been used so often.
        frequency(frequency: u8) => ("FREQ", u64::from(frequency));
    }
}

/// A page of a scan.
///
/// ```
/// use dormouse_client::ScanOptions;
///
/// # dormouse_client::example(async |client| {
/// client.sadd("tags", ["a", "b", "c"]).await?;
/// let mut cursor = "0".to_owned();
/// let mut all = Vec::<String>::new();
/// loop {
///     let page = client.sscan("tags", &cursor, ScanOptions::new()).await?;
///     all.extend(page.items);
///     cursor = page.cursor;
///     if cursor == "0" { break; }
/// }
/// assert_eq!(all.len(), 3);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned<T> {
    /// Where the next page begins; `"0"` after the last.
    pub cursor: String,
    /// What was found. A scan may find the same twice.
    pub items: Vec<T>,
}

impl<T: FromValue> FromValue for Scanned<T> {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let (cursor, items) = value.to()?;
        Ok(Self { cursor, items })
    }
}

impl Client {
    /// Removes keys; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("a", 1).await?;
    /// assert_eq!(client.del(["a", "b"]).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn del(&self, keys: impl ToArgs) -> Command<u64> {
        self.write("DEL").arg(keys)
    }

    /// Removes keys, and frees their memory later; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.unlink("a").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn unlink(&self, keys: impl ToArgs) -> Command<u64> {
        self.write("UNLINK").arg(keys)
    }

    /// How many of the keys there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("a", 1).await?;
    /// assert_eq!(client.exists(["a", "a", "b"]).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn exists(&self, keys: impl ToArgs) -> Command<u64> {
        self.read("EXISTS").arg(keys)
    }

    /// Uses keys; how many of them there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.touch(["a", "b"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn touch(&self, keys: impl ToArgs) -> Command<u64> {
        self.read("TOUCH").arg(keys)
    }

    /// The type of a key, such as `string` or `zset`; `none` if there is no such key.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.lpush("l", "x").await?;
    /// assert_eq!(client.key_type("l").await?, "list");
    /// # Ok(()) });
    /// ```
    pub fn key_type(&self, key: impl ToArg) -> Command<String> {
        self.read("TYPE").arg(key)
    }

    /// Gives a key a deadline; whether there is such a key.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert!(client.expire("k", Duration::from_secs(60)).await?);
    /// # Ok(()) });
    /// ```
    pub fn expire(&self, key: impl ToArg, ttl: Duration) -> Command<bool> {
        self.write("PEXPIRE").arg(key).millis(ttl)
    }

    /// Gives a key a deadline under a condition; whether it did.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::ExpireOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert!(client.expire_with("k", Duration::from_secs(60), ExpireOptions::new().nx()).await?);
    /// # Ok(()) });
    /// ```
    pub fn expire_with(&self, key: impl ToArg, ttl: Duration, options: impl ToArgs) -> Command<bool> {
        self.write("PEXPIRE").arg(key).millis(ttl).arg(options)
    }

    /// Has a key live until then; whether there is such a key.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert!(client.expire_at("k", SystemTime::now() + Duration::from_secs(60), ()).await?);
    /// # Ok(()) });
    /// ```
    pub fn expire_at(&self, key: impl ToArg, time: SystemTime, options: impl ToArgs) -> Command<bool> {
        self.write("PEXPIREAT").arg(key).arg(unix_millis(time)).arg(options)
    }

    /// Has a key live for ever; whether it had a deadline.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(!client.persist("k").await?);
    /// # Ok(()) });
    /// ```
    pub fn persist(&self, key: impl ToArg) -> Command<bool> {
        self.write("PERSIST").arg(key)
    }

    /// How long a key lives, to the millisecond.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::Ttl;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.ttl("k").await?, Ttl::Missing);
    /// client.set("k", "v").await?;
    /// assert_eq!(client.ttl("k").await?, Ttl::Persistent);
    /// client.expire("k", Duration::from_secs(60)).await?;
    /// assert!(client.ttl("k").await?.duration().unwrap() > Duration::from_secs(50));
    /// # Ok(()) });
    /// ```
    pub fn ttl(&self, key: impl ToArg) -> Command<Ttl> {
        self.read::<i64>("PTTL").arg(key).map(|millis| Ttl::of(millis, Duration::from_millis))
    }

    /// Until when a key lives, as the time since the Unix epoch.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.expires_at("k").await?.is_none());
    /// # Ok(()) });
    /// ```
    pub fn expires_at(&self, key: impl ToArg) -> Command<Ttl> {
        self.read::<i64>("PEXPIRETIME").arg(key).map(|millis| Ttl::of(millis, Duration::from_millis))
    }

    /// Gives a key another name, in place of whatever had it.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("draft", "text").await?;
    /// client.rename("draft", "post").await?;
    /// # Ok(()) });
    /// ```
    pub fn rename(&self, key: impl ToArg, to: impl ToArg) -> Command<()> {
        self.write("RENAME").arg(key).arg(to)
    }

    /// Gives a key another name, unless something has it; whether it did.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.mset([("a", 1), ("b", 2)]).await?;
    /// assert!(!client.renamenx("a", "b").await?);
    /// # Ok(()) });
    /// ```
    pub fn renamenx(&self, key: impl ToArg, to: impl ToArg) -> Command<bool> {
        self.write("RENAMENX").arg(key).arg(to)
    }

    /// Copies a key, in place of another if so asked; whether it did.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("a", 1).await?;
    /// assert!(client.copy("a", "b", false).await?);
    /// assert!(!client.copy("a", "b", false).await?);
    /// # Ok(()) });
    /// ```
    pub fn copy(&self, key: impl ToArg, to: impl ToArg, replace: bool) -> Command<bool> {
        self.write("COPY").arg(key).arg(to).arg(replace.then_some("REPLACE"))
    }

    /// Names of keys that match a pattern. It looks at every key there is: prefer [`scan`](Self::scan).
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("user:1", "Ada").await?;
    /// assert_eq!(client.keys::<String>("user:*").await?, ["user:1"]);
    /// # Ok(()) });
    /// ```
    pub fn keys<T: FromValue>(&self, pattern: impl ToArg) -> Command<Vec<T>> {
        self.read("KEYS").arg(pattern)
    }

    /// A page of the names of keys, from a cursor; the first is `"0"`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert_eq!(client.scan::<String>("0", ()).await?.items, ["k"]);
    /// # Ok(()) });
    /// ```
    pub fn scan<T: FromValue>(&self, cursor: &str, options: impl ToArgs) -> Command<Scanned<T>> {
        self.read("SCAN").arg(cursor).arg(options)
    }

    /// The name of any key.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.randomkey::<String>().await?, None);
    /// # Ok(()) });
    /// ```
    pub fn randomkey<T: FromValue>(&self) -> Command<Option<T>> {
        self.read("RANDOMKEY")
    }

    /// The elements of a list, set or sorted set, in order.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", [3, 1, 2]).await?;
    /// assert_eq!(client.sort::<i64>("l", ()).await?, [1, 2, 3]);
    /// # Ok(()) });
    /// ```
    pub fn sort<T: FromValue>(&self, key: impl ToArg, options: impl ToArgs) -> Command<Vec<T>> {
        self.read("SORT_RO").arg(key).arg(options)
    }

    /// Keeps the elements, in order, in a list; how many there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.sadd("s", [3, 1, 2]).await?;
    /// assert_eq!(client.sort_store("s", "sorted", ()).await?, 3);
    /// # Ok(()) });
    /// ```
    pub fn sort_store(&self, key: impl ToArg, to: impl ToArg, options: impl ToArgs) -> Command<u64> {
        self.write("SORT").arg(key).arg(options).arg("STORE").arg(to)
    }

    /// A key's value as bytes for [`restore`](Self::restore), here or elsewhere.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.rpush("l", ["a", "b"]).await?;
    /// let dump = client.dump("l").await?.unwrap();
    /// client.restore("copy", None, &dump, ()).await?;
    /// assert_eq!(client.llen("copy").await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn dump(&self, key: impl ToArg) -> Command<Option<Bytes>> {
        self.read("DUMP").arg(key)
    }

    /// Makes a key of what [`dump`](Self::dump) gave, which lives so long, or for ever.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let error = client.restore("k", None, b"nonsense", ()).await.unwrap_err();
    /// assert_eq!(error.code(), Some("ERR"));
    /// # Ok(()) });
    /// ```
    pub fn restore(
        &self,
        key: impl ToArg,
        ttl: Option<Duration>,
        dump: impl ToArg,
        options: impl ToArgs,
    ) -> Command<()> {
        self.write("RESTORE").arg(key).arg(ttl.map_or(0, millis)).arg(dump).arg(options)
    }

    /// How a key is kept, such as `listpack`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("n", 1).await?;
    /// assert_eq!(client.object_encoding("n").await?.as_deref(), Some("int"));
    /// # Ok(()) });
    /// ```
    pub fn object_encoding(&self, key: impl ToArg) -> Command<Option<String>> {
        self.read("OBJECT ENCODING").arg(key)
    }

    /// How often a key was used, where the endpoint counts that.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// let _ = client.object_freq("k").await;
    /// # Ok(()) });
    /// ```
    pub fn object_freq(&self, key: impl ToArg) -> Command<Option<u64>> {
        self.read("OBJECT FREQ").arg(key)
    }

    /// For how many seconds a key was not used.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert!(client.object_idletime("k").await?.unwrap() < 60);
    /// # Ok(()) });
    /// ```
    pub fn object_idletime(&self, key: impl ToArg) -> Command<Option<u64>> {
        self.read("OBJECT IDLETIME").arg(key)
    }

    /// How often a value is referred to.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert_eq!(client.object_refcount("k").await?, Some(1));
    /// # Ok(()) });
    /// ```
    pub fn object_refcount(&self, key: impl ToArg) -> Command<Option<u64>> {
        self.read("OBJECT REFCOUNT").arg(key)
    }
}

/// Cursors and options, in the order of the scans of one key.
pub(super) fn scan_of(key: impl ToArg, cursor: &str, options: impl ToArgs) -> Args {
    let mut args = Args::new();
    args.add(key).add(cursor).add(options);
    args
}
