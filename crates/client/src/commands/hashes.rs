//! Hashes: fields with values, and fields that expire.

use std::time::{Duration, SystemTime};

use super::keys::scan_of;
use super::{Scanned, Ttl, millis, options, unix_millis};
use crate::args::{Args, ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Mismatch, Pairs, Value};

options! {
    /// What [`Client::hsetex`] and [`Client::hgetex`] do beside setting and reading.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::HashExpiry;
    ///
    /// # dormouse_client::example(async |client| {
    /// let options = HashExpiry::new().fnx().expires_in(Duration::from_secs(60));
    /// assert!(client.hsetex("h", &[("f", "v")], options).await?);
    /// # Ok(()) });
    /// ```
    HashExpiry {
        /// Only if there is none of the fields; for `HSETEX`.
        fnx() => "FNX";
        /// Only if there are all of the fields; for `HSETEX`.
        fxx() => "FXX";
        /// The fields live so long.
        expires_in(ttl: Duration) => ("PX", millis(ttl));
        /// The fields live until then.
        expires_at(time: SystemTime) => ("PXAT", unix_millis(time));
        /// The fields live as long as they did; for `HSETEX`.
        keep_ttl() => "KEEPTTL";
        /// The fields live as long as the hash; for `HGETEX`.
        persist() => "PERSIST";
    }
}

/// What became of the deadline of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldExpiry {
    /// There is no such field, or no such hash.
    Missing,
    /// The condition was not met, or there was no deadline to remove.
    Unchanged,
    /// It was set, or removed.
    Changed,
    /// The deadline had passed already: the field is gone.
    Deleted,
}

impl FromValue for FieldExpiry {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Int(-2) => Ok(Self::Missing),
            Value::Int(-1 | 0) => Ok(Self::Unchanged),
            Value::Int(1) => Ok(Self::Changed),
            Value::Int(2) => Ok(Self::Deleted),
            other => Err(Mismatch::new("what became of a field", &other)),
        }
    }
}

/// `FIELDS`, how many, and which.
fn fields(fields: impl ToArgs) -> Args {
    let mut args = Args::new();
    args.add("FIELDS").counted(fields);
    args
}

impl Client {
    /// The value of a field.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("user", [("name", "Ada")]).await?;
    /// assert_eq!(client.hget::<String>("user", "name").await?.as_deref(), Some("Ada"));
    /// # Ok(()) });
    /// ```
    pub fn hget<T: FromValue>(&self, key: impl ToArg, field: impl ToArg) -> Command<Option<T>> {
        self.read("HGET").arg(key).arg(field)
    }

    /// The values of several fields.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("user", [("a", 1), ("b", 2)]).await?;
    /// assert_eq!(client.hmget::<i64>("user", ["a", "x"]).await?, [Some(1), None]);
    /// # Ok(()) });
    /// ```
    pub fn hmget<T: FromValue>(&self, key: impl ToArg, fields: impl ToArgs) -> Command<Vec<Option<T>>> {
        self.read("HMGET").arg(key).arg(fields)
    }

    /// All fields and values: as a map, or as [`Pairs`] in their order.
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.hset("user", [("name", "Ada"), ("role", "admin")]).await?;
    /// let user: HashMap<String, String> = client.hgetall("user").await?;
    /// assert_eq!(user["role"], "admin");
    /// # Ok(()) });
    /// ```
    pub fn hgetall<M: FromValue>(&self, key: impl ToArg) -> Command<M> {
        self.read("HGETALL").arg(key)
    }

    /// All fields.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", [("f", 1)]).await?;
    /// assert_eq!(client.hkeys::<String>("h").await?, ["f"]);
    /// # Ok(()) });
    /// ```
    pub fn hkeys<T: FromValue>(&self, key: impl ToArg) -> Command<Vec<T>> {
        self.read("HKEYS").arg(key)
    }

    /// All values.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", [("f", 1)]).await?;
    /// assert_eq!(client.hvals::<i64>("h").await?, [1]);
    /// # Ok(()) });
    /// ```
    pub fn hvals<T: FromValue>(&self, key: impl ToArg) -> Command<Vec<T>> {
        self.read("HVALS").arg(key)
    }

    /// How many fields there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.hlen("h").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn hlen(&self, key: impl ToArg) -> Command<u64> {
        self.read("HLEN").arg(key)
    }

    /// The length of a field's value in bytes.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", [("f", "hello")]).await?;
    /// assert_eq!(client.hstrlen("h", "f").await?, 5);
    /// # Ok(()) });
    /// ```
    pub fn hstrlen(&self, key: impl ToArg, field: impl ToArg) -> Command<u64> {
        self.read("HSTRLEN").arg(key).arg(field)
    }

    /// Whether there is such a field.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(!client.hexists("h", "f").await?);
    /// # Ok(()) });
    /// ```
    pub fn hexists(&self, key: impl ToArg, field: impl ToArg) -> Command<bool> {
        self.read("HEXISTS").arg(key).arg(field)
    }

    /// Sets fields: pairs, or a map. How many are new.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.hset("user", [("name", "Ada"), ("role", "admin")]).await?, 2);
    /// assert_eq!(client.hset("user", ("age", 36)).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn hset(&self, key: impl ToArg, pairs: impl ToArgs) -> Command<u64> {
        self.write("HSET").arg(key).arg(pairs)
    }

    /// Sets a field unless there is one; whether it did.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.hsetnx("h", "f", 1).await?);
    /// assert!(!client.hsetnx("h", "f", 2).await?);
    /// # Ok(()) });
    /// ```
    pub fn hsetnx(&self, key: impl ToArg, field: impl ToArg, value: impl ToArg) -> Command<bool> {
        self.write("HSETNX").arg(key).arg(field).arg(value)
    }

    /// Sets fields with options; whether they were set. Since Redis 8.0.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::HashExpiry;
    ///
    /// # dormouse_client::example(async |client| {
    /// let minute = HashExpiry::new().expires_in(Duration::from_secs(60));
    /// assert!(client.hsetex("h", &[("f", 1), ("g", 2)], minute).await?);
    /// # Ok(()) });
    /// ```
    pub fn hsetex(&self, key: impl ToArg, pairs: &[(impl ToArg, impl ToArg)], options: impl ToArgs) -> Command<bool> {
        self.write("HSETEX").arg(key).arg(options).arg("FIELDS").arg(pairs.len()).arg(pairs)
    }

    /// The values of fields, whose deadlines are changed. Since Redis 8.0.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::HashExpiry;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// let minute = HashExpiry::new().expires_in(Duration::from_secs(60));
    /// assert_eq!(client.hgetex::<i64>("h", ["f", "g"], minute).await?, [Some(1), None]);
    /// # Ok(()) });
    /// ```
    pub fn hgetex<T: FromValue>(
        &self,
        key: impl ToArg,
        of: impl ToArgs,
        options: impl ToArgs,
    ) -> Command<Vec<Option<T>>> {
        self.write("HGETEX").arg(key).arg(options).arg(fields(of))
    }

    /// The values of fields, which are removed. Since Redis 8.0.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// assert_eq!(client.hgetdel::<i64>("h", ["f", "g"]).await?, [Some(1), None]);
    /// # Ok(()) });
    /// ```
    pub fn hgetdel<T: FromValue>(&self, key: impl ToArg, of: impl ToArgs) -> Command<Vec<Option<T>>> {
        self.write("HGETDEL").arg(key).arg(fields(of))
    }

    /// Removes fields; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.hdel("h", ["f", "g"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn hdel(&self, key: impl ToArg, fields: impl ToArgs) -> Command<u64> {
        self.write("HDEL").arg(key).arg(fields)
    }

    /// Adds a number to a field.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.hincrby("h", "f", 3).await?, 3);
    /// # Ok(()) });
    /// ```
    pub fn hincrby(&self, key: impl ToArg, field: impl ToArg, by: i64) -> Command<i64> {
        self.write("HINCRBY").arg(key).arg(field).arg(by)
    }

    /// Adds a number that may have a fraction to a field.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.hincrbyfloat("h", "f", 0.5).await?, 0.5);
    /// # Ok(()) });
    /// ```
    pub fn hincrbyfloat(&self, key: impl ToArg, field: impl ToArg, by: f64) -> Command<f64> {
        self.write("HINCRBYFLOAT").arg(key).arg(field).arg(by)
    }

    /// Random fields: up to so many different ones or, if negative, that many with repetitions.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// assert_eq!(client.hrandfield::<String>("h", 5).await?, ["f"]);
    /// # Ok(()) });
    /// ```
    pub fn hrandfield<T: FromValue>(&self, key: impl ToArg, count: i64) -> Command<Vec<T>> {
        self.read("HRANDFIELD").arg(key).arg(count)
    }

    /// The same with their values.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// assert_eq!(client.hrandfield_withvalues::<String, i64>("h", 5).await?, [("f".to_owned(), 1)]);
    /// # Ok(()) });
    /// ```
    pub fn hrandfield_withvalues<F: FromValue, V: FromValue>(
        &self,
        key: impl ToArg,
        count: i64,
    ) -> Command<Vec<(F, V)>> {
        self.read::<Pairs<F, V>>("HRANDFIELD").arg(key).arg(count).arg("WITHVALUES").map(|pairs| pairs.0)
    }

    /// A page of fields and values, from a cursor; the first is `"0"`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// assert_eq!(client.hscan::<String, i64>("h", "0", ()).await?.items, [("f".to_owned(), 1)]);
    /// # Ok(()) });
    /// ```
    pub fn hscan<F: FromValue, V: FromValue>(
        &self,
        key: impl ToArg,
        cursor: &str,
        options: impl ToArgs,
    ) -> Command<Scanned<(F, V)>> {
        let command = self.read::<(String, Pairs<F, V>)>("HSCAN").arg(scan_of(key, cursor, options));
        command.map(|(cursor, pairs)| Scanned { cursor, items: pairs.0 })
    }

    /// Gives fields a deadline; what became of each. Since Redis 7.4.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::FieldExpiry;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// let done = client.hexpire("h", Duration::from_secs(60), (), ["f", "g"]).await?;
    /// assert_eq!(done, [FieldExpiry::Changed, FieldExpiry::Missing]);
    /// # Ok(()) });
    /// ```
    pub fn hexpire(
        &self,
        key: impl ToArg,
        ttl: Duration,
        options: impl ToArgs,
        of: impl ToArgs,
    ) -> Command<Vec<FieldExpiry>> {
        let command = self.write::<Option<Vec<FieldExpiry>>>("HPEXPIRE").arg(key).millis(ttl);
        command.arg(options).arg(fields(of)).map(Option::unwrap_or_default)
    }

    /// Has fields live until then; what became of each. Since Redis 7.4.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use dormouse_client::FieldExpiry;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// let done = client.hexpire_at("h", SystemTime::UNIX_EPOCH, (), "f").await?;
    /// assert_eq!(done, [FieldExpiry::Deleted]);
    /// # Ok(()) });
    /// ```
    pub fn hexpire_at(
        &self,
        key: impl ToArg,
        time: SystemTime,
        options: impl ToArgs,
        of: impl ToArgs,
    ) -> Command<Vec<FieldExpiry>> {
        let command = self.write::<Option<Vec<FieldExpiry>>>("HPEXPIREAT").arg(key).arg(unix_millis(time));
        command.arg(options).arg(fields(of)).map(Option::unwrap_or_default)
    }

    /// Has fields live as long as their hash; what became of each. Since Redis 7.4.
    ///
    /// ```
    /// use dormouse_client::FieldExpiry;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// assert_eq!(client.hpersist("h", "f").await?, [FieldExpiry::Unchanged]);
    /// # Ok(()) });
    /// ```
    pub fn hpersist(&self, key: impl ToArg, of: impl ToArgs) -> Command<Vec<FieldExpiry>> {
        let command = self.write::<Option<Vec<FieldExpiry>>>("HPERSIST").arg(key).arg(fields(of));
        command.map(Option::unwrap_or_default)
    }

    /// How long fields live. Since Redis 7.4.
    ///
    /// ```
    /// use dormouse_client::Ttl;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// assert_eq!(client.httl("h", ["f", "g"]).await?, [Ttl::Persistent, Ttl::Missing]);
    /// # Ok(()) });
    /// ```
    pub fn httl(&self, key: impl ToArg, of: impl ToArgs) -> Command<Vec<Ttl>> {
        self.read("HPTTL").arg(key).arg(fields(of)).map(ttls)
    }

    /// Until when fields live, as the time since the Unix epoch. Since Redis 7.4.
    ///
    /// ```
    /// use dormouse_client::Ttl;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.hset("h", ("f", 1)).await?;
    /// assert_eq!(client.hexpires_at("h", "f").await?, [Ttl::Persistent]);
    /// # Ok(()) });
    /// ```
    pub fn hexpires_at(&self, key: impl ToArg, of: impl ToArgs) -> Command<Vec<Ttl>> {
        self.read("HPEXPIRETIME").arg(key).arg(fields(of)).map(ttls)
    }
}

fn ttls(all: Option<Vec<i64>>) -> Vec<Ttl> {
    all.unwrap_or_default().into_iter().map(|millis| Ttl::of(millis, Duration::from_millis)).collect()
}
