//! Scripts: hashed once, called by their hash, and sent whole only to a server that does not keep them.
//!
//! `NOSCRIPT` says that nothing has run, so the second request is safe. It is made once: a server that forgets the script in
//! between has it whole in that very request.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::future::IntoFuture;
use std::time::Duration;

use sha1::{Digest, Sha1};

use crate::args::{Args, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::error::Result;
use crate::rt::BoxFuture;
use crate::value::FromValue;

/// A script and its hash. Make one of each and keep it.
///
/// ```
/// use dormouse_client::Script;
///
/// # dormouse_client::example(async |client| {
/// let add = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
/// let total: i64 = add.key("total").arg(5).run(&client).await?;
/// assert_eq!(total, 5);
/// # Ok(()) });
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    text: Cow<'static, str>,
    hash: String,
    read_only: bool,
}

impl Script {
    /// A script in Lua.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let mut hash = String::with_capacity(40);
        for byte in Sha1::digest(text.as_bytes()) {
            write!(hash, "{byte:02x}").expect("a String takes everything");
        }
        Self { text, hash, read_only: false }
    }

    /// One that may not write. It may be repeated when its answer was lost, and a read-only token may run it.
    ///
    /// ```
    /// use dormouse_client::Script;
    ///
    /// # dormouse_client::example(async |client| {
    /// let sum = Script::read_only("return #KEYS + #ARGV");
    /// assert_eq!(sum.key("a").arg("b").run::<i64>(&client).await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn read_only(text: impl Into<Cow<'static, str>>) -> Self {
        Self { read_only: true, ..Self::new(text) }
    }

    /// Its SHA-1 in hexadecimal digits, by which servers know it.
    ///
    /// ```
    /// let script = dormouse_client::Script::new("return 1");
    /// assert_eq!(script.hash(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    /// ```
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Its text.
    ///
    /// ```
    /// assert_eq!(dormouse_client::Script::new("return 1").text(), "return 1");
    /// ```
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A call with a key, or several.
    pub fn key(&self, keys: impl ToArgs) -> Call<'_> {
        self.call().key(keys)
    }

    /// A call without keys, with an argument, or several.
    pub fn arg(&self, args: impl ToArgs) -> Call<'_> {
        self.call().arg(args)
    }

    /// A call with neither yet.
    ///
    /// ```
    /// use dormouse_client::Script;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(Script::new("return 1").call().run::<i64>(&client).await?, 1);
    /// # Ok(()) });
    /// ```
    pub const fn call(&self) -> Call<'_> {
        Call { script: self, keys: Args::new(), args: Args::new() }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Script").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// A script with its keys and arguments.
#[derive(Clone, Debug)]
#[must_use = "a script runs when its run is awaited"]
pub struct Call<'a> {
    script: &'a Script,
    keys: Args,
    args: Args,
}

impl Call<'_> {
    /// One more key, or several: `KEYS`.
    pub fn key(mut self, keys: impl ToArgs) -> Self {
        self.keys.add(keys);
        self
    }

    /// One more argument, or several: `ARGV`.
    pub fn arg(mut self, args: impl ToArgs) -> Self {
        self.args.add(args);
        self
    }

    /// Runs it.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let echo = dormouse_client::Script::new("return ARGV[1]");
    /// assert_eq!(echo.arg("x").run::<String>(&client).await?, "x");
    /// # Ok(()) });
    /// ```
    pub fn run<T: FromValue>(self, client: &Client) -> Run<T> {
        let Self { script: Script { text, hash, read_only }, keys, args } = self;
        let by_hash =
            if *read_only { client.evalsha_ro(hash, &keys, &args) } else { client.evalsha(hash, &keys, &args) };
        let whole = if *read_only { client.eval_ro(&**text, keys, args) } else { client.eval(&**text, keys, args) };
        Run { by_hash, whole }
    }

    /// The whole script as one command, for pipelines and transactions.
    ///
    /// ```
    /// use dormouse_client::Script;
    ///
    /// # dormouse_client::example(async |client| {
    /// let add = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    /// let (one, two) = client.transaction((
    ///     add.key("a").arg(1).command::<i64>(&client),
    ///     add.key("a").arg(2).command::<i64>(&client),
    /// )).all().await?;
    /// assert_eq!((one, two), (1, 3));
    /// # Ok(()) });
    /// ```
    pub fn command<T: FromValue>(self, client: &Client) -> Command<T> {
        let Self { script, keys, args } = self;
        if script.read_only {
            client.eval_ro(script.text(), keys, args)
        } else {
            client.eval(script.text(), keys, args)
        }
    }
}

/// A script that runs when this is awaited.
#[must_use = "a script runs when this is awaited"]
#[derive(Debug)]
pub struct Run<T> {
    by_hash: Command<T>,
    whole: Command<T>,
}

impl<T> Run<T> {
    fn each(self, change: impl Fn(Command<T>) -> Command<T>) -> Self {
        Self { by_hash: change(self.by_hash), whole: change(self.whole) }
    }

    /// How long each request may take: see [`Command::timeout`].
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let script = dormouse_client::Script::new("return 1");
    /// script.call().run::<i64>(&client).timeout(std::time::Duration::from_secs(1)).await?;
    /// # Ok(()) });
    /// ```
    pub fn timeout(self, timeout: Duration) -> Self {
        self.each(|command| command.timeout(timeout))
    }

    /// It is sent once, whatever becomes of it.
    pub fn never_retry(self) -> Self {
        self.each(Command::never_retry)
    }
}

impl<T: 'static> IntoFuture for Run<T> {
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'static, Result<T>>;

    fn into_future(self) -> Self::IntoFuture {
        let (by_hash, whole) = (self.by_hash.into_future(), self.whole);
        Box::pin(async move {
            match by_hash.await {
                Err(error) if error.code() == Some("NOSCRIPT") => {}
                done => return done,
            }
            whole.await
        })
    }
}
