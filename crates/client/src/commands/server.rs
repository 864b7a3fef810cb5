//! The server: what it says of itself, users, and what empties it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::args::{ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Value};

impl Client {
    /// Whether the endpoint answers: `PONG`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.ping().await?, "PONG");
    /// # Ok(()) });
    /// ```
    pub fn ping(&self) -> Command<String> {
        self.read("PING")
    }

    /// The same words again.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.echo::<String>("hello").await?, "hello");
    /// # Ok(()) });
    /// ```
    pub fn echo<T: FromValue>(&self, words: impl ToArg) -> Command<T> {
        self.read("ECHO").arg(words)
    }

    /// The server's time, since the Unix epoch.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.time().await?.as_secs() > 1_700_000_000);
    /// # Ok(()) });
    /// ```
    pub fn time(&self) -> Command<Duration> {
        self.read::<(u64, u32)>("TIME").map(|(s, us)| Duration::from_secs(s) + Duration::from_micros(us.into()))
    }

    /// How many keys there are.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.dbsize().await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn dbsize(&self) -> Command<u64> {
        self.read("DBSIZE")
    }

    /// Removes every key of the database.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.flushdb().await?;
    /// # Ok(()) });
    /// ```
    pub fn flushdb(&self) -> Command<()> {
        self.write("FLUSHDB")
    }

    /// Removes every key.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.flushall().await?;
    /// # Ok(()) });
    /// ```
    pub fn flushall(&self) -> Command<()> {
        self.write("FLUSHALL")
    }

    /// What the server says of itself, all of it or some sections.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.info("server").await?.contains("redis_version"));
    /// # Ok(()) });
    /// ```
    pub fn info(&self, sections: impl ToArgs) -> Command<String> {
        self.read("INFO").arg(sections)
    }

    /// Whether the server is a master, and where it stands in its log.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let role: Vec<dormouse_client::Value> = client.role().await?.to()?;
    /// assert_eq!(role[0], "master".into());
    /// # Ok(()) });
    /// ```
    pub fn role(&self) -> Command<Value> {
        self.read("ROLE")
    }

    /// When everything was on disk last, in seconds since the Unix epoch.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.lastsave().await? > 0);
    /// # Ok(()) });
    /// ```
    pub fn lastsave(&self) -> Command<u64> {
        self.read("LASTSAVE")
    }

    /// Waits until so many replicas have every write; how many do.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.wait(0, Duration::from_millis(10)).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn wait(&self, replicas: u64, timeout: Duration) -> Command<u64> {
        self.write("WAIT").arg(replicas).millis(timeout)
    }

    /// Waits until the server's own disk (with 1) and so many replicas' have every write; how many do of each.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # dormouse_client::example(async |client| {
    /// let (_own, replicas) = client.waitaof(0, 0, Duration::from_millis(10)).await?;
    /// assert_eq!(replicas, 0);
    /// # Ok(()) });
    /// ```
    pub fn waitaof(&self, own: u64, replicas: u64, timeout: Duration) -> Command<(u64, u64)> {
        self.write("WAITAOF").arg(own).arg(replicas).millis(timeout)
    }

    /// Parameters whose names match a pattern.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let found = client.config_get("notify-keyspace-events").await?;
    /// assert_eq!(found["notify-keyspace-events"], "");
    /// # Ok(()) });
    /// ```
    pub fn config_get(&self, patterns: impl ToArgs) -> Command<BTreeMap<String, String>> {
        self.read("CONFIG GET").arg(patterns)
    }

    /// Sets parameters: pairs, or a map.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.config_set(("notify-keyspace-events", "KEA")).await?;
    /// # Ok(()) });
    /// ```
    pub fn config_set(&self, pairs: impl ToArgs) -> Command<()> {
        self.write("CONFIG SET").arg(pairs)
    }

    /// How many bytes of memory a key takes.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// assert!(client.memory_usage("k").await?.unwrap() > 0);
    /// # Ok(()) });
    /// ```
    pub fn memory_usage(&self, key: impl ToArg) -> Command<Option<u64>> {
        self.read("MEMORY USAGE").arg(key)
    }

    /// How many commands the server knows.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.command_count().await? > 200);
    /// # Ok(()) });
    /// ```
    pub fn command_count(&self) -> Command<u64> {
        self.read("COMMAND COUNT")
    }

    /// The names of the commands the server knows.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.command_list().await?.contains(&"get".to_owned()));
    /// # Ok(()) });
    /// ```
    pub fn command_list(&self) -> Command<Vec<String>> {
        self.read("COMMAND LIST")
    }

    /// The keys that a command would touch.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.command_getkeys::<String>(["MSET", "a", "1", "b", "2"]).await?, ["a", "b"]);
    /// # Ok(()) });
    /// ```
    pub fn command_getkeys<T: FromValue>(&self, words: impl ToArgs) -> Command<Vec<T>> {
        self.read("COMMAND GETKEYS").arg(words)
    }

    /// The newest entries of the slow log, as the server lists them.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let entries = client.slowlog_get(10).await?;
    /// assert!(entries.len() <= 10);
    /// # Ok(()) });
    /// ```
    pub fn slowlog_get(&self, count: i64) -> Command<Vec<Value>> {
        self.read("SLOWLOG GET").arg(count)
    }

    /// How many entries the slow log has.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.slowlog_len().await?;
    /// # Ok(()) });
    /// ```
    pub fn slowlog_len(&self) -> Command<u64> {
        self.read("SLOWLOG LEN")
    }

    /// Empties the slow log.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.slowlog_reset().await?;
    /// # Ok(()) });
    /// ```
    pub fn slowlog_reset(&self) -> Command<()> {
        self.write("SLOWLOG RESET")
    }

    /// Who one is.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.acl_whoami().await?, "default");
    /// # Ok(()) });
    /// ```
    pub fn acl_whoami(&self) -> Command<String> {
        self.read("ACL WHOAMI")
    }

    /// The names of all users.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.acl_users().await?.contains(&"default".to_owned()));
    /// # Ok(()) });
    /// ```
    pub fn acl_users(&self) -> Command<Vec<String>> {
        self.read("ACL USERS")
    }

    /// Every user, as the rules that make it.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.acl_list().await?.iter().all(|user| user.starts_with("user ")));
    /// # Ok(()) });
    /// ```
    pub fn acl_list(&self) -> Command<Vec<String>> {
        self.read("ACL LIST")
    }

    /// Makes a user, or changes what one may do, rule by rule.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.acl_setuser("alice", ["on", ">a-long-password", "~alice:*", "+@read"]).await?;
    /// # Ok(()) });
    /// ```
    pub fn acl_setuser(&self, user: impl ToArg, rules: impl ToArgs) -> Command<()> {
        self.write("ACL SETUSER").arg(user).arg(rules)
    }

    /// What a user may do, as the server lists it.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(!client.acl_getuser("default").await?.is_null());
    /// # Ok(()) });
    /// ```
    pub fn acl_getuser(&self, user: impl ToArg) -> Command<Value> {
        self.read("ACL GETUSER").arg(user)
    }

    /// Removes users; how many there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.acl_deluser(["nobody"]).await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn acl_deluser(&self, users: impl ToArgs) -> Command<u64> {
        self.write("ACL DELUSER").arg(users)
    }

    /// Whether a user may run a command: `OK`, or why not.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.acl_dryrun("default", ["GET", "k"]).await?, "OK");
    /// # Ok(()) });
    /// ```
    pub fn acl_dryrun(&self, user: impl ToArg, words: impl ToArgs) -> Command<String> {
        self.read("ACL DRYRUN").arg(user).arg(words)
    }

    /// The categories of commands, or the commands of one.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.acl_cat(None).await?.contains(&"read".to_owned()));
    /// # Ok(()) });
    /// ```
    pub fn acl_cat(&self, category: Option<&str>) -> Command<Vec<String>> {
        self.read("ACL CAT").arg(category)
    }

    /// A password that nobody can guess.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.acl_genpass().await?.len(), 64);
    /// # Ok(()) });
    /// ```
    pub fn acl_genpass(&self) -> Command<String> {
        self.read("ACL GENPASS")
    }

    /// What was refused lately, as the server lists it.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.acl_log(10).await?.is_empty());
    /// # Ok(()) });
    /// ```
    pub fn acl_log(&self, count: u64) -> Command<Vec<Value>> {
        self.read("ACL LOG").arg(count)
    }

    /// A bearer token for a user, whose password must be given.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.acl_resttoken("nobody", "guess").await.is_err());
    /// # Ok(()) });
    /// ```
    pub fn acl_resttoken(&self, user: impl ToArg, password: impl ToArg) -> Command<String> {
        self.write("ACL RESTTOKEN").arg(user).arg(password)
    }
}
