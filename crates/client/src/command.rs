//! A command: what is sent, and what its answer is made into.
//!
//! Every command is written once, as a method of [`Client`] that returns a [`Command`]. Nothing is sent until it is awaited, or
//! given to a [pipeline](crate::Client::pipeline) or a [transaction](crate::Client::transaction) together with others.

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use crate::args::{Args, ToArgs};
use crate::client::{Client, Options, Outgoing};
use crate::error::{Error, Result, ServerError};
use crate::rt::BoxFuture;
use crate::value::{FromValue, Mismatch, Value};
use crate::wire::{self, Answer};

/// What a command does to the data, as far as repeating it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: it can be sent again.
    Reads,
    /// It may change something.
    Writes,
}

type Decode<T> = Box<dyn FnOnce(Value) -> Result<T, Mismatch> + Send>;

/// A command that is sent when it is awaited.
///
/// ```
/// use std::time::Duration;
///
/// # dormouse_client::example(async |client| {
/// let command = client.incr("hits").timeout(Duration::from_secs(1));
/// assert_eq!(command.await?, 1);
/// # Ok(()) });
/// ```
#[must_use = "a command is sent when it is awaited, or with others in a pipeline"]
pub struct Command<T> {
    client: Client,
    name: Cow<'static, str>,
    effect: Effect,
    args: Args,
    options: Options,
    decode: Decode<T>,
}

impl<T: FromValue> Command<T> {
    pub(crate) fn new(client: &Client, name: Cow<'static, str>, effect: Effect, args: Args) -> Self {
        let decode = Box::new(T::from_value);
        Self { client: client.clone(), name, effect, args, options: Options::default(), decode }
    }
}

impl<T> Command<T> {
    /// One more argument, or several. What a method does not offer can be said this way.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").arg("EX").arg(60).await?;
    /// assert!(client.ttl("k").await?.is_some());
    /// # Ok(()) });
    /// ```
    pub fn arg(mut self, args: impl ToArgs) -> Self {
        self.args.add(args);
        self
    }

    /// How many arguments these are, and then those.
    pub(crate) fn counted(mut self, args: impl ToArgs) -> Self {
        self.args.counted(args);
        self
    }

    /// Milliseconds of a duration, at least one if there is anything: Redis has no use for a deadline of nothing.
    pub(crate) fn millis(self, duration: Duration) -> Self {
        self.arg(crate::commands::millis(duration))
    }

    /// How long this call may take, instead of what the client says.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let value: Option<String> = client.get("k").timeout(std::time::Duration::from_millis(500)).await?;
    /// # drop(value);
    /// # Ok(()) });
    /// ```
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Sends the command under a key of one's own choosing. Dormouse runs it once, however often it is sent under that key
    /// within a day, and gives the same answer again; so it is repeated when an answer was lost. **Upstash ignores the key**:
    /// use it with Dormouse only.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// for _ in 0..2 {
    ///     assert_eq!(client.incr("paid").idempotency_key("order-4711").await?, 1);
    /// }
    /// # Ok(()) });
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.options.idempotency_key = Some(key.into());
        self
    }

    /// Says that the command only reads, and may be repeated when its answer was lost. Methods know this by themselves;
    /// [`Client::command`] does not.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let length: u64 = client.command(["STRLEN", "k"]).read_only().await?;
    /// # assert_eq!(length, 0);
    /// # Ok(()) });
    /// ```
    pub const fn read_only(mut self) -> Self {
        self.effect = Effect::Reads;
        self
    }

    /// The command is sent once, whatever becomes of it.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.get::<String>("k").never_retry().await?;
    /// # Ok(()) });
    /// ```
    pub const fn never_retry(mut self) -> Self {
        self.options.never_retry = true;
        self
    }

    /// A header of this request.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.get::<String>("k").header("x-request-id", "42").await?;
    /// # Ok(()) });
    /// ```
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.options.headers.push((name.into(), value.into()));
        self
    }

    /// The server may wait so long for something to come; nothing is "for as long as it likes".
    pub(crate) const fn waits(mut self, longest: Duration) -> Self {
        // Dormouse answers after 55 seconds in any case.
        const LONGEST: Duration = Duration::from_mins(1);
        let bounded = longest.is_zero() || longest.as_millis() > LONGEST.as_millis();
        self.options.waits = Some(if bounded { LONGEST } else { longest });
        self
    }

    /// Makes something else of the answer.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let exists: bool = client.exists("k").map(|count| count == 1).await?;
    /// assert!(!exists);
    /// # Ok(()) });
    /// ```
    pub fn map<U>(self, make: impl FnOnce(T) -> U + Send + 'static) -> Command<U>
    where
        T: 'static,
    {
        self.and_then(|value| Ok(make(value)))
    }

    pub(crate) fn and_then<U>(self, make: impl FnOnce(T) -> Result<U, Mismatch> + Send + 'static) -> Command<U>
    where
        T: 'static,
    {
        let Self { client, name, effect, args, options, decode } = self;
        let decode = Box::new(move |value| make(decode(value)?));
        Command { client, name, effect, args, options, decode }
    }

    /// Sends it, as awaiting it does: for what takes futures.
    ///
    /// ```
    /// use futures_util::future::try_join_all;
    ///
    /// # dormouse_client::example(async |client| {
    /// let client = client.auto_pipeline();
    /// let lengths = try_join_all(["a", "b"].map(|key| client.strlen(key).send())).await?;
    /// assert_eq!(lengths, [0, 0]);
    /// # Ok(()) });
    /// ```
    pub fn send(self) -> BoxFuture<'static, Result<T>>
    where
        T: 'static,
    {
        Box::pin(self.run())
    }

    /// Its words, the name first.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let command = client.get::<String>("k");
    /// assert_eq!(command.args().iter().collect::<Vec<_>>(), [&b"GET"[..], b"k"]);
    /// # Ok(()) });
    /// ```
    pub const fn args(&self) -> &Args {
        &self.args
    }

    /// Whether it is known to change nothing.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.get::<String>("k").is_read_only() && !client.incr("k").is_read_only());
    /// # Ok(()) });
    /// ```
    pub fn is_read_only(&self) -> bool {
        self.effect == Effect::Reads
    }

    pub(crate) fn take_apart(self) -> (Part, Decoder<T>) {
        let part = Part { effect: self.effect, args: self.args };
        (part, Decoder { name: self.name, decode: self.decode })
    }

    async fn run(self) -> Result<T> {
        let Self { client, name, effect, args, options, decode } = self;
        let decoder = Decoder { name, decode };
        check(&decoder.name, &args)?;
        if let Some(auto) = client.auto.as_ref().filter(|_| options.is_default()) {
            let answer = auto.run(&client, Part { effect, args }).await?;
            return decoder.answer(answer);
        }
        let encoded = wire::one(&args);
        let value = client.one(Outgoing { name: decoder.name.clone(), count: None, effect, encoded, options }).await?;
        decoder.value(value)
    }
}

/// One of several commands.
pub(crate) struct Part {
    pub(crate) effect: Effect,
    pub(crate) args: Args,
}

/// What is left of a command while its answer is waited for.
pub struct Decoder<T> {
    name: Cow<'static, str>,
    decode: Decode<T>,
}

impl<T> Decoder<T> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn value(self, value: Value) -> Result<T> {
        (self.decode)(value).map_err(|mismatch| Error::Decode { command: self.name, mismatch })
    }

    pub(crate) fn answer(self, answer: Answer) -> Result<T> {
        match answer {
            Answer::Result(value) => self.value(value),
            Answer::Error(message) => Err(Error::Server(ServerError { status: http::StatusCode::OK, message })),
        }
    }
}

/// Whether a command can be sent.
pub(crate) fn check(name: &str, args: &Args) -> Result<()> {
    let cannot = |why: Cow<'static, str>| Err(Error::Request { command: name.to_owned().into(), why });
    match args.fault() {
        Some(fault) => cannot(fault.clone()),
        None if args.is_empty() => cannot("it has no name".into()),
        None if std::str::from_utf8(args.get(0)).is_err() => cannot("its name is not text".into()),
        None => Ok(()),
    }
}

impl<T: 'static> IntoFuture for Command<T> {
    type Output = Result<T>;
    type IntoFuture = BoxFuture<'static, Result<T>>;

    fn into_future(self) -> Self::IntoFuture {
        self.send()
    }
}

impl<T> fmt::Debug for Command<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Command").field("name", &self.name).finish_non_exhaustive()
    }
}
