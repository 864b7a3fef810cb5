//! Streams: entries in order, and groups of consumers that share them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{millis, options, unix_millis};
use crate::args::{Args, ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Mismatch, Pairs, Value};

/// The id of an entry: a moment in milliseconds, and a number within it.
///
/// ```
/// use dormouse_client::StreamId;
///
/// let id: StreamId = "1700000000000-3".parse().unwrap();
/// assert_eq!((id.millis, id.sequence), (1_700_000_000_000, 3));
/// assert!(id < StreamId::MAX && id.to_string() == "1700000000000-3");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch.
    pub millis: u64,
    /// The number within the millisecond.
    pub sequence: u64,
}

impl StreamId {
    /// Before every entry.
    pub const MIN: Self = Self { millis: 0, sequence: 0 };
    /// Behind every entry.
    pub const MAX: Self = Self { millis: u64::MAX, sequence: u64::MAX };
}

impl fmt::Display for StreamId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.millis, self.sequence)
    }
}

impl FromStr for StreamId {
    type Err = Mismatch;

    fn from_str(text: &str) -> Result<Self, Mismatch> {
        let (millis, sequence) = text.split_once('-').unwrap_or((text, "0"));
        let parts = millis.parse().ok().zip(sequence.parse().ok());
        let (millis, sequence) = parts.ok_or_else(|| Mismatch::found("the id of an entry", "other text"))?;
        Ok(Self { millis, sequence })
    }
}

impl ToArgs for StreamId {
    fn add_to(&self, args: &mut Args) {
        args.add(self.to_string());
    }
}

impl ToArg for StreamId {}

impl FromValue for StreamId {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        String::from_value(value)?.parse()
    }
}

/// An entry of a stream.
///
/// ```
/// # dormouse_client::example(async |client| {
/// client.xadd("log", "*", [("level", "info"), ("line", "7")]).await?;
/// let entries = client.xrange("log", "-", "+", None).await?;
/// assert_eq!(entries[0].get::<String>("level")?.as_deref(), Some("info"));
/// assert_eq!(entries[0].get::<u32>("line")?, Some(7));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: StreamId,
    /// Its fields and values in order; none if it was pending and has been deleted since.
    pub fields: Vec<(Bytes, Bytes)>,
}

impl Entry {
    /// The value of a field, if there is one.
    pub fn get<T: FromValue>(&self, field: impl AsRef<[u8]>) -> Result<Option<T>, Mismatch> {
        let found = self.fields.iter().find(|(name, _)| name == field.as_ref());
        found.map(|(_, value)| T::from_value(Value::Bytes(value.clone()))).transpose()
    }
}

impl FromValue for Entry {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        // An entry read with CLAIM has two parts more: for how long it was pending, and how often delivered.
        let mut parts = Vec::<Value>::from_value(value)?.into_iter();
        let id = parts.next().unwrap_or_default().to()?;
        let fields = parts.next().unwrap_or_default().to::<Option<Pairs<Bytes, Bytes>>>()?;
        Ok(Self { id, fields: fields.unwrap_or_default().0 })
    }
}

/// Entries of several streams, each behind its key.
fn by_stream(found: Option<Pairs<String, Vec<Entry>>>) -> Vec<(String, Vec<Entry>)> {
    found.unwrap_or_default().0
}

/// How much of a stream is kept.
///
/// ```
/// use dormouse_client::Trim;
///
/// # dormouse_client::example(async |client| {
/// for _ in 0..5 { client.xadd("log", "*", ("line", "x")).await?; }
/// assert_eq!(client.xtrim("log", Trim::length(2)).await?, 3);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it does nothing by itself"]
pub struct Trim {
    by: &'static str,
    threshold: String,
    about: bool,
    limit: Option<u64>,
}

impl Trim {
    /// So many entries, the newest.
    pub fn length(length: u64) -> Self {
        Self { by: "MAXLEN", threshold: length.to_string(), about: false, limit: None }
    }

    /// Entries from this id on.
    pub fn since(id: StreamId) -> Self {
        Self { by: "MINID", threshold: id.to_string(), about: false, limit: None }
    }

    /// Some more may stay, where that is cheaper.
    pub const fn about(mut self) -> Self {
        self.about = true;
        self
    }

    /// Remove so many at most; only with [`about`](Self::about).
    pub const fn limit(mut self, entries: u64) -> Self {
        self.limit = Some(entries);
        self
    }
}

impl ToArgs for Trim {
    fn add_to(&self, args: &mut Args) {
        args.add(self.by).add(if self.about { "~" } else { "=" }).add(&self.threshold);
        args.add(self.limit.map(|limit| ("LIMIT", limit)));
    }
}

options! {
    /// Options of [`Client::xadd_with`].
    ///
    /// ```
    /// use dormouse_client::{Trim, XAddOptions};
    ///
    /// # dormouse_client::example(async |client| {
    /// let options = XAddOptions::new().trim(Trim::length(1000).about());
    /// assert!(client.xadd_with("log", "*", ("line", "x"), options).await?.is_some());
    /// let only = XAddOptions::new().no_make_stream();
    /// assert!(client.xadd_with("other", "*", ("line", "x"), only).await?.is_none());
    /// # Ok(()) });
    /// ```
    XAddOptions {
        /// Only if there is such a stream. It comes before the others.
        no_make_stream() => "NOMKSTREAM";
        /// Keep so much.
        trim(trim: Trim) => trim;
    }
}

options! {
    /// Options of [`Client::xread`] and [`Client::xreadgroup`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::ReadOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let options = ReadOptions::new().count(10).block(Duration::from_millis(10));
    /// assert!(client.xread(&[("log", "$")], options).await?.is_empty());
    /// # Ok(()) });
    /// ```
    ReadOptions {
        /// So many entries of each stream at most.
        count(count: u64) => ("COUNT", count);
        /// Wait for one if there is none. Dormouse only, which waits for at most 55 seconds.
        block(timeout: Duration) => ("BLOCK", millis(timeout));
        /// Entries count as done once they are delivered; for groups.
        no_ack() => "NOACK";
    }
}

impl ReadOptions {
    /// How long the server may wait, as the arguments have it.
    fn waits(&self) -> Option<Duration> {
        let words: Vec<_> = self.0.iter().collect();
        let at = words.iter().position(|word| *word == b"BLOCK")?;
        let millis = std::str::from_utf8(words.get(at + 1)?).ok()?.parse().ok()?;
        Some(Duration::from_millis(millis))
    }
}

options! {
    /// Options of [`Client::xclaim`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::ClaimOptions;
    ///
    /// let options = ClaimOptions::new().idle(Duration::ZERO).retry_count(3).force();
    /// # drop(options);
    /// ```
    ClaimOptions {
        /// As if delivered so long ago.
        idle(idle: Duration) => ("IDLE", millis(idle));
        /// As if delivered at that time.
        delivered_at(time: SystemTime) => ("TIME", unix_millis(time));
        /// As if delivered so often.
        retry_count(count: u64) => ("RETRYCOUNT", count);
        /// Entries that were pending for nobody, too.
        force() => "FORCE";
    }
}

/// Where a group begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupStart {
    /// With the stream's first entry.
    First,
    /// With what is added from now on.
    New,
    /// Behind an entry.
    After(StreamId),
}

impl ToArgs for GroupStart {
    fn add_to(&self, args: &mut Args) {
        match self {
            Self::First => args.add("0"),
            Self::New => args.add("$"),
            Self::After(id) => args.add(id),
        };
    }
}

/// What [`Client::xautoclaim`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoClaimed {
    /// Where to go on; [`StreamId::MIN`] after the last.
    pub next: StreamId,
    /// What is this consumer's now.
    pub entries: Vec<Entry>,
    /// What was pending and has been deleted since; it is pending no more.
    pub deleted: Vec<StreamId>,
}

impl FromValue for AutoClaimed {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let mut parts = Vec::<Value>::from_value(value)?.into_iter();
        let mut next = || parts.next().unwrap_or_default();
        let (next, entries, deleted) = (next().to()?, next().to()?, next().to::<Option<Vec<StreamId>>>()?);
        Ok(Self { next, entries, deleted: deleted.unwrap_or_default() })
    }
}

/// What a group waits for as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSummary {
    /// How many entries are pending.
    pub count: u64,
    /// The first and the last of them.
    pub range: Option<(StreamId, StreamId)>,
    /// How many each consumer has.
    pub consumers: Vec<(String, u64)>,
}

impl FromValue for PendingSummary {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        type Reply = (u64, Option<StreamId>, Option<StreamId>, Option<Pairs<String, u64>>);
        let (count, first, last, consumers): Reply = value.to()?;
        Ok(Self { count, range: first.zip(last), consumers: consumers.unwrap_or_default().0 })
    }
}

/// An entry that was delivered and is not done.
///
/// ```
/// use dormouse_client::{GroupStart, ReadOptions};
///
/// # dormouse_client::example(async |client| {
/// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
/// client.xadd("jobs", "*", ("job", "one")).await?;
/// client.xreadgroup("workers", "me", &[("jobs", ">")], ReadOptions::new()).await?;
/// let pending = client.xpending_range("jobs", "workers", "-", "+", 10, None, None).await?;
/// assert_eq!((pending[0].consumer.as_str(), pending[0].deliveries), ("me", 1));
/// let summary = client.xpending("jobs", "workers").await?;
/// assert_eq!((summary.count, summary.consumers), (1, vec![("me".to_owned(), 1)]));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its id.
    pub id: StreamId,
    /// Who has it.
    pub consumer: String,
    /// How long ago it was delivered.
    pub idle: Duration,
    /// How often it was delivered.
    pub deliveries: u64,
}

impl FromValue for Pending {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let (id, consumer, idle, deliveries) = value.to()?;
        Ok(Self { id, consumer, idle: Duration::from_millis(idle), deliveries })
    }
}

/// Keys, then ids, as the reading commands have them.
fn streams(streams: &[(impl ToArg, impl ToArg)]) -> Args {
    let mut args = Args::new();
    args.add("STREAMS");
    for (key, _) in streams {
        args.add(key);
    }
    for (_, id) in streams {
        args.add(id);
    }
    args
}

impl Client {
    /// Adds an entry with an id of one's own, or `*`; its id.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let id = client.xadd("log", "*", [("level", "info"), ("text", "hello")]).await?;
    /// assert!(id.millis > 0);
    /// # Ok(()) });
    /// ```
    pub fn xadd(&self, key: impl ToArg, id: impl ToArg, fields: impl ToArgs) -> Command<StreamId> {
        self.write("XADD").arg(key).arg(id).arg(fields)
    }

    /// Adds an entry with options; its id, if it was added.
    ///
    /// ```
    /// use dormouse_client::{Trim, XAddOptions};
    ///
    /// # dormouse_client::example(async |client| {
    /// let last = XAddOptions::new().trim(Trim::length(100));
    /// client.xadd_with("log", "*", ("line", "x"), last).await?;
    /// # Ok(()) });
    /// ```
    pub fn xadd_with(
        &self,
        key: impl ToArg,
        id: impl ToArg,
        fields: impl ToArgs,
        options: impl ToArgs,
    ) -> Command<Option<StreamId>> {
        self.write("XADD").arg(key).arg(options).arg(id).arg(fields)
    }

    /// How many entries there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.xlen("log").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn xlen(&self, key: impl ToArg) -> Command<u64> {
        self.read("XLEN").arg(key)
    }

    /// Entries from one id to another, both included unless one begins with `(`; `-` and `+` are the ends.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.xadd("log", "1-1", ("n", 1)).await?;
    /// client.xadd("log", "2-1", ("n", 2)).await?;
    /// assert_eq!(client.xrange("log", "(1-1", "+", Some(10)).await?.len(), 1);
    /// # Ok(()) });
    /// ```
    pub fn xrange(
        &self,
        key: impl ToArg,
        start: impl ToArg,
        end: impl ToArg,
        count: Option<u64>,
    ) -> Command<Vec<Entry>> {
        self.read("XRANGE").arg(key).arg(start).arg(end).arg(count.map(|count| ("COUNT", count)))
    }

    /// The same from the newest to the oldest: the end comes first.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.xadd("log", "1-1", ("n", 1)).await?;
    /// let newest = client.xrevrange("log", "+", "-", Some(1)).await?;
    /// assert_eq!(newest[0].id.to_string(), "1-1");
    /// # Ok(()) });
    /// ```
    pub fn xrevrange(
        &self,
        key: impl ToArg,
        end: impl ToArg,
        start: impl ToArg,
        count: Option<u64>,
    ) -> Command<Vec<Entry>> {
        self.read("XREVRANGE").arg(key).arg(end).arg(start).arg(count.map(|count| ("COUNT", count)))
    }

    /// Entries behind an id of each stream, behind their keys; `$` is whatever comes from now on.
    ///
    /// ```
    /// use dormouse_client::ReadOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xadd("log", "1-1", ("n", 1)).await?;
    /// let found = client.xread(&[("log", "0"), ("other", "0")], ReadOptions::new().count(10)).await?;
    /// assert_eq!((found.len(), found[0].0.as_str(), found[0].1.len()), (1, "log", 1));
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "options are written where they are used")]
    pub fn xread(&self, of: &[(impl ToArg, impl ToArg)], options: ReadOptions) -> Command<Vec<(String, Vec<Entry>)>> {
        let command = self.read::<Option<Pairs<String, Vec<Entry>>>>("XREAD").arg(&options).arg(streams(of));
        let command = command.map(by_stream);
        match options.waits() {
            Some(timeout) => command.waits(timeout),
            None => command,
        }
    }

    /// Entries for a consumer of a group, behind the keys of their streams: new ones with `>`, or those that are pending for
    /// the consumer, behind an id.
    ///
    /// ```
    /// use dormouse_client::{GroupStart, ReadOptions};
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// let id = client.xadd("jobs", "*", ("job", "one")).await?;
    /// let found = client.xreadgroup("workers", "me", &[("jobs", ">")], ReadOptions::new()).await?;
    /// assert_eq!(found[0].1[0].id, id);
    /// assert_eq!(client.xack("jobs", "workers", id).await?, 1);
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "options are written where they are used")]
    pub fn xreadgroup(
        &self,
        group: impl ToArg,
        consumer: impl ToArg,
        of: &[(impl ToArg, impl ToArg)],
        options: ReadOptions,
    ) -> Command<Vec<(String, Vec<Entry>)>> {
        let command = self.write::<Option<Pairs<String, Vec<Entry>>>>("XREADGROUP").arg(("GROUP", group, consumer));
        let command = command.arg(&options).arg(streams(of)).map(by_stream);
        match options.waits() {
            Some(timeout) => command.waits(timeout),
            None => command,
        }
    }

    /// Says that entries are done; how many were pending.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.xack("jobs", "workers", "1-1").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn xack(&self, key: impl ToArg, group: impl ToArg, ids: impl ToArgs) -> Command<u64> {
        self.write("XACK").arg(key).arg(group).arg(ids)
    }

    /// Says that entries are done, and deletes them; for each 1, or -1 if there was none, or 2 if another group still has
    /// it. The policy is `KEEPREF`, `DELREF` or `ACKED`. Since Redis 8.2.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.xackdel("jobs", "workers", "KEEPREF", ["1-1"]).await?, [-1]);
    /// # Ok(()) });
    /// ```
    pub fn xackdel(&self, key: impl ToArg, group: impl ToArg, policy: &str, ids: impl ToArgs) -> Command<Vec<i64>> {
        self.write("XACKDEL").arg(key).arg(group).arg(policy).arg("IDS").counted(ids)
    }

    /// Gives entries back to their group, for others to take at once; how many were pending. The verdict is `SILENT` (the delivery
    /// does not count), `FAIL` (it does) or `FATAL` (nobody should try again). Since Redis 8.8.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// use dormouse_client::GroupStart;
    ///
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// assert_eq!(client.xnack("jobs", "workers", "FAIL", ["1-1"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn xnack(&self, key: impl ToArg, group: impl ToArg, verdict: &str, ids: impl ToArgs) -> Command<u64> {
        self.write("XNACK").arg(key).arg(group).arg(verdict).arg("IDS").counted(ids)
    }

    /// Sets for how long a stream remembers what producers sent (`XADD … IDMP`), and how many entries of each. Since Redis 8.6.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xadd("log", "1-1", ("n", 1)).await?;
    /// client.xcfgset("log", Duration::from_secs(60), 1000).await?;
    /// # Ok(()) });
    /// ```
    pub fn xcfgset(&self, key: impl ToArg, duration: Duration, entries: u64) -> Command<()> {
        self.write("XCFGSET").arg(key).arg("IDMP-DURATION").arg(duration.as_secs()).arg("IDMP-MAXSIZE").arg(entries)
    }

    /// Deletes entries; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.xdel("log", ["1-1"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn xdel(&self, key: impl ToArg, ids: impl ToArgs) -> Command<u64> {
        self.write("XDEL").arg(key).arg(ids)
    }

    /// Deletes entries with a policy for what groups have of them: see [`xackdel`](Self::xackdel). Since Redis 8.2.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.xadd("log", "1-1", ("n", 1)).await?;
    /// assert_eq!(client.xdelex("log", "DELREF", ["1-1", "2-1"]).await?, [1, -1]);
    /// # Ok(()) });
    /// ```
    pub fn xdelex(&self, key: impl ToArg, policy: &str, ids: impl ToArgs) -> Command<Vec<i64>> {
        self.write("XDELEX").arg(key).arg(policy).arg("IDS").counted(ids)
    }

    /// Keeps part of a stream; how many entries went.
    ///
    /// ```
    /// use dormouse_client::Trim;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.xtrim("log", Trim::length(1000).about()).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn xtrim(&self, key: impl ToArg, trim: Trim) -> Command<u64> {
        self.write("XTRIM").arg(key).arg(trim)
    }

    /// Sets the id behind which the next entry comes.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.xadd("log", "1-1", ("n", 1)).await?;
    /// client.xsetid("log", "9-0").await?;
    /// # Ok(()) });
    /// ```
    pub fn xsetid(&self, key: impl ToArg, id: impl ToArg) -> Command<()> {
        self.write("XSETID").arg(key).arg(id)
    }

    /// Makes a group, and the stream with it if so asked.
    ///
    /// ```
    /// use dormouse_client::GroupStart;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::First, true).await?;
    /// let again = client.xgroup_create("jobs", "workers", GroupStart::First, true).await.unwrap_err();
    /// assert_eq!(again.code(), Some("BUSYGROUP"));
    /// # Ok(()) });
    /// ```
    pub fn xgroup_create(
        &self,
        key: impl ToArg,
        group: impl ToArg,
        start: GroupStart,
        make_stream: bool,
    ) -> Command<()> {
        self.write("XGROUP CREATE").arg(key).arg(group).arg(start).arg(make_stream.then_some("MKSTREAM"))
    }

    /// Has a group read on from elsewhere.
    ///
    /// ```
    /// use dormouse_client::GroupStart;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// client.xgroup_setid("jobs", "workers", GroupStart::First).await?;
    /// # Ok(()) });
    /// ```
    pub fn xgroup_setid(&self, key: impl ToArg, group: impl ToArg, start: GroupStart) -> Command<()> {
        self.write("XGROUP SETID").arg(key).arg(group).arg(start)
    }

    /// Removes a group; whether there was one.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.xadd("jobs", "*", ("n", 1)).await?;
    /// assert!(!client.xgroup_destroy("jobs", "workers").await?);
    /// # Ok(()) });
    /// ```
    pub fn xgroup_destroy(&self, key: impl ToArg, group: impl ToArg) -> Command<bool> {
        self.write("XGROUP DESTROY").arg(key).arg(group)
    }

    /// Makes a consumer; whether it is new.
    ///
    /// ```
    /// use dormouse_client::GroupStart;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// assert!(client.xgroup_createconsumer("jobs", "workers", "me").await?);
    /// # Ok(()) });
    /// ```
    pub fn xgroup_createconsumer(&self, key: impl ToArg, group: impl ToArg, consumer: impl ToArg) -> Command<bool> {
        self.write("XGROUP CREATECONSUMER").arg(key).arg(group).arg(consumer)
    }

    /// Removes a consumer; how many entries were pending for it.
    ///
    /// ```
    /// use dormouse_client::GroupStart;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// assert_eq!(client.xgroup_delconsumer("jobs", "workers", "me").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn xgroup_delconsumer(&self, key: impl ToArg, group: impl ToArg, consumer: impl ToArg) -> Command<u64> {
        self.write("XGROUP DELCONSUMER").arg(key).arg(group).arg(consumer)
    }

    /// What is pending for a group as a whole.
    ///
    /// ```
    /// use dormouse_client::GroupStart;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// assert_eq!(client.xpending("jobs", "workers").await?.count, 0);
    /// # Ok(()) });
    /// ```
    pub fn xpending(&self, key: impl ToArg, group: impl ToArg) -> Command<PendingSummary> {
        self.read("XPENDING").arg(key).arg(group)
    }

    /// Entries that are pending, from one id to another: of everybody or of one consumer, and for at least so long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::GroupStart;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// let late = client.xpending_range("jobs", "workers", "-", "+", 10, None, Some(Duration::from_secs(60))).await?;
    /// assert!(late.is_empty());
    /// # Ok(()) });
    /// ```
    #[expect(clippy::too_many_arguments, reason = "they are the command's")]
    pub fn xpending_range(
        &self,
        key: impl ToArg,
        group: impl ToArg,
        start: impl ToArg,
        end: impl ToArg,
        count: u64,
        consumer: Option<&str>,
        idle: Option<Duration>,
    ) -> Command<Vec<Pending>> {
        let command = self.read("XPENDING").arg(key).arg(group).arg(idle.map(|idle| ("IDLE", millis(idle))));
        command.arg(start).arg(end).arg(count).arg(consumer)
    }

    /// Makes pending entries another consumer's, if they have been pending for so long; the entries.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::{ClaimOptions, GroupStart};
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// let mine = client.xclaim("jobs", "workers", "me", Duration::from_secs(60), "1-1", ()).await?;
    /// assert!(mine.is_empty());
    /// # Ok(()) });
    /// ```
    pub fn xclaim(
        &self,
        key: impl ToArg,
        group: impl ToArg,
        consumer: impl ToArg,
        idle: Duration,
        ids: impl ToArgs,
        options: impl ToArgs,
    ) -> Command<Vec<Entry>> {
        self.write("XCLAIM").arg(key).arg(group).arg(consumer).arg(millis(idle)).arg(ids).arg(options)
    }

    /// Makes entries that have been pending for so long this consumer's, from an id on, up to so many.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::{GroupStart, StreamId};
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// let found = client.xautoclaim("jobs", "workers", "me", Duration::from_secs(60), StreamId::MIN, 10).await?;
    /// assert_eq!((found.next, found.entries.len()), (StreamId::MIN, 0));
    /// # Ok(()) });
    /// ```
    pub fn xautoclaim(
        &self,
        key: impl ToArg,
        group: impl ToArg,
        consumer: impl ToArg,
        idle: Duration,
        start: StreamId,
        count: u64,
    ) -> Command<AutoClaimed> {
        let command = self.write("XAUTOCLAIM").arg(key).arg(group).arg(consumer).arg(millis(idle));
        command.arg(start).arg("COUNT").arg(count)
    }

    /// What there is to know of a stream, as the server lists it.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use dormouse_client::Value;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xadd("log", "*", ("n", 1)).await?;
    /// let about: HashMap<String, Value> = client.xinfo_stream("log").await?;
    /// assert_eq!(about["length"], Value::Int(1));
    /// # Ok(()) });
    /// ```
    pub fn xinfo_stream<M: FromValue>(&self, key: impl ToArg) -> Command<M> {
        self.read("XINFO STREAM").arg(key)
    }

    /// What there is to know of a stream's groups.
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use dormouse_client::{GroupStart, Value};
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// let groups: Vec<HashMap<String, Value>> = client.xinfo_groups("jobs").await?;
    /// assert_eq!(groups[0]["name"], Value::from("workers"));
    /// # Ok(()) });
    /// ```
    pub fn xinfo_groups<M: FromValue>(&self, key: impl ToArg) -> Command<Vec<M>> {
        self.read("XINFO GROUPS").arg(key)
    }

    /// What there is to know of a group's consumers.
    ///
    /// ```
    /// use dormouse_client::{GroupStart, Value};
    ///
    /// # dormouse_client::example(async |client| {
    /// client.xgroup_create("jobs", "workers", GroupStart::New, true).await?;
    /// assert!(client.xinfo_consumers::<Value>("jobs", "workers").await?.is_empty());
    /// # Ok(()) });
    /// ```
    pub fn xinfo_consumers<M: FromValue>(&self, key: impl ToArg, group: impl ToArg) -> Command<Vec<M>> {
        self.read("XINFO CONSUMERS").arg(key).arg(group)
    }
}
