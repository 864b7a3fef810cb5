//! Several commands in one request: pipelines, where each stands for itself, and transactions, where nobody comes between.
//!
//! What is sent together is a tuple, an array, a `Vec` or an `Option` of commands, nested as one likes; the answers have the
//! same shape. A command that fails has its error in its place, in both: Redis takes nothing back.

use std::borrow::Cow;
use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use crate::client::{Client, Options, Outgoing};
use crate::command::{Command, Decoder, Effect, Part, check};
use crate::error::{Error, Result};
use crate::rt::BoxFuture;
use crate::wire::{self, Answer};

/// Commands that can be sent together: one, or tuples (of up to twelve), arrays, `Vec`s and `Option`s of such.
///
/// ```
/// # dormouse_client::example(async |client| {
/// let name = Some(client.get::<String>("name"));
/// let counts = vec![client.llen("a"), client.scard("b")];
/// let (name, counts) = client.pipeline((name, counts)).all().await?;
/// assert_eq!((name, counts), (Some(None), vec![0, 0]));
/// # Ok(()) });
/// ```
pub trait Commands: Sized {
    /// What each is answered, in the shape of the commands.
    type Results;
    /// The same once none has failed.
    type Values;
    #[doc(hidden)]
    type Decoders: Send;
    #[doc(hidden)]
    fn take_apart(self, parts: &mut Parts) -> Self::Decoders;
    #[doc(hidden)]
    fn results(decoders: Self::Decoders, answers: &mut Answers) -> Self::Results;
    #[doc(hidden)]
    fn values(results: Self::Results) -> Result<Self::Values>;
}

/// What is to be sent.
#[derive(Default)]
pub struct Parts {
    parts: Vec<Part>,
    fault: Option<Error>,
}

/// What came back.
pub struct Answers(std::vec::IntoIter<Answer>);

impl<T: 'static> Commands for Command<T> {
    type Results = Result<T>;
    type Values = T;
    type Decoders = Decoder<T>;

    fn take_apart(self, parts: &mut Parts) -> Self::Decoders {
        let (part, decoder) = self.take_apart();
        if let Err(error) = check(decoder.name(), &part.args) {
            parts.fault.get_or_insert(error);
        }
        parts.parts.push(part);
        decoder
    }

    fn results(decoder: Self::Decoders, answers: &mut Answers) -> Self::Results {
        decoder.answer(answers.0.next().expect("as many answers as commands"))
    }

    fn values(result: Self::Results) -> Result<T> {
        result
    }
}

impl<C: Commands> Commands for Vec<C> {
    type Results = Vec<C::Results>;
    type Values = Vec<C::Values>;
    type Decoders = Vec<C::Decoders>;

    fn take_apart(self, parts: &mut Parts) -> Self::Decoders {
        self.into_iter().map(|one| one.take_apart(parts)).collect()
    }

    fn results(decoders: Self::Decoders, answers: &mut Answers) -> Self::Results {
        decoders.into_iter().map(|one| C::results(one, answers)).collect()
    }

    fn values(results: Self::Results) -> Result<Self::Values> {
        results.into_iter().map(C::values).collect()
    }
}

impl<C: Commands, const N: usize> Commands for [C; N] {
    type Results = [C::Results; N];
    type Values = Vec<C::Values>;
    type Decoders = [C::Decoders; N];

    fn take_apart(self, parts: &mut Parts) -> Self::Decoders {
        self.map(|one| one.take_apart(parts))
    }

    fn results(decoders: Self::Decoders, answers: &mut Answers) -> Self::Results {
        decoders.map(|one| C::results(one, answers))
    }

    fn values(results: Self::Results) -> Result<Self::Values> {
        results.into_iter().map(C::values).collect()
    }
}

impl<C: Commands> Commands for Option<C> {
    type Results = Option<C::Results>;
    type Values = Option<C::Values>;
    type Decoders = Option<C::Decoders>;

    fn take_apart(self, parts: &mut Parts) -> Self::Decoders {
        self.map(|one| one.take_apart(parts))
    }

    fn results(decoders: Self::Decoders, answers: &mut Answers) -> Self::Results {
        decoders.map(|one| C::results(one, answers))
    }

    fn values(results: Self::Results) -> Result<Self::Values> {
        results.map(C::values).transpose()
    }
}

macro_rules! tuple {
    ($($part:ident)+) => {
        #[expect(non_snake_case, reason = "a type's name serves for its value")]
        impl<$($part: Commands),+> Commands for ($($part,)+) {
            type Results = ($($part::Results,)+);
            type Values = ($($part::Values,)+);
            type Decoders = ($($part::Decoders,)+);

            fn take_apart(self, parts: &mut Parts) -> Self::Decoders {
                let ($($part,)+) = self;
                ($($part.take_apart(parts),)+)
            }

            fn results(decoders: Self::Decoders, answers: &mut Answers) -> Self::Results {
                let ($($part,)+) = decoders;
                ($(<$part as Commands>::results($part, answers),)+)
            }

            fn values(results: Self::Results) -> Result<Self::Values> {
                let ($($part,)+) = results;
                Ok(($(<$part as Commands>::values($part)?,)+))
            }
        }
    };
}

tuple! { A }
tuple! { A B }
tuple! { A B C }
tuple! { A B C D }
tuple! { A B C D E }
tuple! { A B C D E F }
tuple! { A B C D E F G }
tuple! { A B C D E F G H }
tuple! { A B C D E F G H I }
tuple! { A B C D E F G H I J }
tuple! { A B C D E F G H I J K }
tuple! { A B C D E F G H I J K L }

impl Client {
    /// Sends commands together. Each stands for itself, and others may run in between.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let (views, length) = client.pipeline((client.incr("views"), client.llen("views"))).await?;
    /// assert_eq!(views?, 1);
    /// assert_eq!(length.unwrap_err().code(), Some("WRONGTYPE"));
    ///
    /// let keys = ["a", "b", "c"];
    /// let all: Vec<Option<String>> = client.pipeline(keys.map(|key| client.get(key))).all().await?;
    /// assert_eq!(all, [None, None, None]);
    /// # Ok(()) });
    /// ```
    pub fn pipeline<C: Commands>(&self, commands: C) -> Pipeline<C> {
        Pipeline { client: self.clone(), path: "/pipeline", commands, options: Options::default() }
    }

    /// Runs commands as one: all of them or, if one cannot be run at all, none; and nobody else's in between. One that fails
    /// while it runs has its error in its place, and the others count, as after Redis's `EXEC`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("from", 10).await?;
    /// let (from, to) = client.transaction((client.decrby("from", 3), client.incrby("to", 3))).all().await?;
    /// assert_eq!((from, to), (7, 3));
    /// # Ok(()) });
    /// ```
    pub fn transaction<C: Commands>(&self, commands: C) -> Pipeline<C> {
        Pipeline { client: self.clone(), path: "/multi-exec", commands, options: Options::default() }
    }
}

/// Commands that are sent together when this is awaited. The answer has a [`Result`] for each.
#[must_use = "a pipeline is sent when it is awaited"]
pub struct Pipeline<C> {
    client: Client,
    path: &'static str,
    commands: C,
    options: Options,
}

impl<C: Commands> Pipeline<C> {
    /// How long the call may take, instead of what the client says.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.pipeline([client.incr("a")]).timeout(std::time::Duration::from_secs(1)).await?;
    /// # Ok(()) });
    /// ```
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Sends all of it under one key of one's own choosing: see [`Command::idempotency_key`]. With a key a pipeline runs as
    /// a transaction does. **Upstash ignores the key.**
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// for _ in 0..2 {
    ///     let all = client.transaction((client.incr("a"), client.incr("b"))).idempotency_key("order-4711").all().await?;
    ///     assert_eq!(all, (1, 1));
    /// }
    /// # Ok(()) });
    /// ```
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.options.idempotency_key = Some(key.into());
        self
    }

    /// It is sent once, whatever becomes of it.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.pipeline([client.llen("a")]).never_retry().await?;
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
    /// client.pipeline([client.llen("a")]).header("x-request-id", "42").await?;
    /// # Ok(()) });
    /// ```
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.options.headers.push((name.into(), value.into()));
        self
    }

    /// All answers or the first error. What ran has run all the same.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let error = client.pipeline((client.lpush("l", 1), client.incr("l"))).all().await.unwrap_err();
    /// assert_eq!(error.code(), Some("WRONGTYPE"));
    /// assert_eq!(client.llen("l").await?, 1);
    /// # Ok(()) });
    /// ```
    pub const fn all(self) -> All<C> {
        All(self)
    }

    fn split(self) -> (Sending, C::Decoders) {
        let mut parts = Parts::default();
        let decoders = self.commands.take_apart(&mut parts);
        (Sending { client: self.client, path: self.path, parts, options: self.options }, decoders)
    }
}

/// The part of a pipeline that does not depend on what is in it.
struct Sending {
    client: Client,
    path: &'static str,
    parts: Parts,
    options: Options,
}

impl Sending {
    async fn send(self) -> Result<Answers> {
        if let Some(fault) = self.parts.fault {
            return Err(fault);
        }
        let answers = send(&self.client, self.path, self.parts.parts, self.options).await?;
        Ok(Answers(answers.into_iter()))
    }
}

/// Sends several commands to an endpoint for several; there are as many answers. None are not sent at all.
pub(crate) async fn send(
    client: &Client,
    path: &'static str,
    parts: Vec<Part>,
    options: Options,
) -> Result<Vec<Answer>> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let reads = parts.iter().all(|part| part.effect == Effect::Reads);
    let effect = if reads { Effect::Reads } else { Effect::Writes };
    let args: Vec<_> = parts.into_iter().map(|part| part.args).collect();
    let encoded = wire::several(path, &args);
    let name = if path == "/pipeline" { "PIPELINE" } else { "MULTI" };
    client.several(Outgoing { name: name.into(), count: Some(args.len()), effect, encoded, options }).await
}

impl<C: Commands + 'static> IntoFuture for Pipeline<C>
where
    C::Decoders: 'static,
{
    type Output = Result<C::Results>;
    type IntoFuture = BoxFuture<'static, Result<C::Results>>;

    fn into_future(self) -> Self::IntoFuture {
        let (sending, decoders) = self.split();
        Box::pin(async move {
            let mut answers = sending.send().await?;
            Ok(C::results(decoders, &mut answers))
        })
    }
}

impl<C> fmt::Debug for Pipeline<C> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pipeline").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A [`Pipeline`] whose answers count only together.
#[derive(Debug)]
#[must_use = "a pipeline is sent when it is awaited"]
pub struct All<C>(Pipeline<C>);

impl<C: Commands + 'static> IntoFuture for All<C>
where
    C::Decoders: 'static,
{
    type Output = Result<C::Values>;
    type IntoFuture = BoxFuture<'static, Result<C::Values>>;

    fn into_future(self) -> Self::IntoFuture {
        let (sending, decoders) = self.0.split();
        Box::pin(async move {
            let mut answers = sending.send().await?;
            C::values(C::results(decoders, &mut answers))
        })
    }
}
