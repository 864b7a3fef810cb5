//! A namespace whose version changes at run time: one counter in the store, remembered here for a while.
//!
//! It must never make a reader see an older generation than one it has seen: a counter that went backwards (the key was lost)
//! would bring back what was invalidated.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use crate::client::Client;
use crate::error::Result;
use crate::keys::Namespace;
use crate::rt;
use crate::script::Script;

static ADVANCE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("advance.lua")));

/// The generation of a namespace, shared by all who use the store. Clones share what they remember.
///
/// [`bump`](Self::bump) invalidates every key of the namespace in one step, however many there are.
///
/// - Who bumps sees the new generation from then on; other processes do after the age that they allow at the latest.
/// - The counter's key (`generation:` and the namespace) has no deadline, and must not be evicted. Should it be lost all the same, a
///   process that knows a higher number writes that back.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::keys::{Generation, Namespace};
///
/// # dormouse_client::example(async |client| {
/// let shop = Generation::new(&client, Namespace::new("shop"), Duration::from_secs(5));
/// let cart = shop.current().await?.pattern::<u64>("cart");
/// assert_eq!(cart.key(7), "shop:g0:cart:7");
/// shop.bump().await?;
/// let cart = shop.current().await?.pattern::<u64>("cart");
/// assert_eq!(cart.key(7), "shop:g1:cart:7");
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct Generation {
    client: Client,
    namespace: Namespace,
    key: String,
    age_max: Duration,
    known: Arc<Mutex<Option<(u64, rt::Instant)>>>,
}

impl Generation {
    /// The generation of a namespace. What is known of it is asked for anew when it is older than `age_max`.
    pub fn new(client: &Client, namespace: Namespace, age_max: Duration) -> Self {
        let key = format!("generation:{namespace}");
        Self { client: client.clone(), namespace, key, age_max, known: Arc::default() }
    }

    /// The namespace as it is now.
    pub async fn current(&self) -> Result<Namespace> {
        let known = self.known();
        if let Some((generation, at)) = known
            && at.elapsed() < self.age_max
        {
            return Ok(self.namespace.clone().generation(generation));
        }
        let found = self.client.get::<u64>(&self.key).await?.unwrap_or_default();
        let before = known.map_or(0, |(generation, _)| generation);
        let generation = if before > found { self.advance(before, 0).await? } else { found };
        Ok(self.namespace.clone().generation(self.remember(generation)))
    }

    /// Invalidates all keys of the namespace; its new generation.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::keys::{Generation, Namespace};
    ///
    /// # dormouse_client::example(async |client| {
    /// let shop = Generation::new(&client, Namespace::new("shop"), Duration::from_secs(5));
    /// assert_eq!((shop.bump().await?, shop.bump().await?), (1, 2));
    /// # Ok(()) });
    /// ```
    pub async fn bump(&self) -> Result<u64> {
        let before = self.known().map_or(0, |(generation, _)| generation);
        Ok(self.remember(self.advance(before, 1).await?))
    }

    /// The one place where the counter changes: at least `floor`, and `by` more.
    async fn advance(&self, floor: u64, by: u64) -> Result<u64> {
        ADVANCE.key(&self.key).arg([floor, by]).run(&self.client).await
    }

    fn known(&self) -> Option<(u64, rt::Instant)> {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a generation, unless a later one is known; the later of the two.
    fn remember(&self, generation: u64) -> u64 {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let later = known.map_or(generation, |(before, _)| before.max(generation));
        *known = Some((later, rt::Instant::now()));
        later
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestServer;

    #[tokio::test]
    async fn a_generation_never_goes_back() {
        let server = TestServer::start().expect("a server");
        let client = server.client();
        let one = Generation::new(&client, Namespace::new("n"), Duration::ZERO);
        let late = Generation::new(&client, Namespace::new("n"), Duration::from_mins(1));
        assert_eq!(late.current().await.expect("answers").to_string(), "n:g0");
        assert_eq!(one.bump().await.expect("answers"), 1);
        assert_eq!(late.current().await.expect("answers").to_string(), "n:g0", "it may be as old as was allowed");
        assert_eq!(one.bump().await.expect("answers"), 2);
        client.flushdb().await.expect("answers");
        assert_eq!(one.current().await.expect("answers").to_string(), "n:g2");
        client.flushdb().await.expect("answers");
        assert_eq!(one.bump().await.expect("answers"), 3);
        assert_eq!(late.bump().await.expect("answers"), 4);
    }
}
