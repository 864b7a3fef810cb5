//! A lock that is held: renewed in the background, and known to be lost before anybody else can have it.
//!
//! Work is polled only while the lease is valid by this process's own clock, so that a process that was stopped for a while does not go on
//! as if nothing had happened.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Result;
use crate::lock::decide::{Next, next, validity};
use crate::lock::{Lock, LockError};
use crate::rt;

/// A lock that is held. Dropping it gives it back, in a task of its own; [`release`](Self::release) waits for that.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::lock::Lock;
///
/// # dormouse_client::example(async |client| {
/// let lock = Lock::new(&client, "reports");
/// let guard = lock.try_acquire().await?.expect("nobody else has it");
/// assert!(guard.is_valid() && lock.try_acquire().await?.is_none());
/// assert_eq!(guard.fence(), 1);
/// assert!(guard.release().await?);
/// # Ok(()) });
/// ```
#[must_use = "the lock is given back when this is dropped"]
pub struct Guard {
    held: Arc<Held>,
    fence: u64,
    lost: watch::Receiver<bool>,
    released: bool,
}

struct Held {
    lock: Lock,
    token: String,
    /// When the last request that was granted was sent.
    granted: Mutex<Option<rt::Instant>>,
}

impl Held {
    fn age(&self) -> Option<Duration> {
        let granted = *self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        granted.map(|granted| granted.elapsed())
    }

    fn is_valid(&self) -> bool {
        self.age().is_some_and(|age| age < validity(self.lock.lease))
    }

    fn grant(&self, at: Option<rt::Instant>) {
        *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}

impl Guard {
    pub(crate) fn new(lock: &Lock, token: String, fence: u64, granted: rt::Instant) -> Self {
        let held = Arc::new(Held { lock: lock.clone(), token, granted: Mutex::new(Some(granted)) });
        let (tell, lost) = watch::channel(false);
        // Without a runtime nobody renews, and the lease ends as it is.
        let _ = rt::spawn(renew(Arc::clone(&held), tell));
        Self { held, fence, lost, released: false }
    }

    /// A number that grows with each holder. What the lock protects should refuse a smaller one than it has seen: see
    /// [`fenced_set`](crate::lock::fenced_set).
    pub const fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether the lock is held for certain, now.
    pub fn is_valid(&self) -> bool {
        self.held.is_valid()
    }

    /// Waits until the lock is lost.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::lock::Lock;
    ///
    /// # dormouse_client::example(async |client| {
    /// let guard = Lock::new(&client, "reports").lease(Duration::from_millis(200)).try_acquire().await?.unwrap();
    /// client.del("lock:reports").await?; // an operator's hand
    /// guard.lost().await;
    /// assert!(!guard.is_valid());
    /// # Ok(()) });
    /// ```
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error is that the task that renews has ended: then the lease does.
        if lost.wait_for(|lost| *lost).await.is_err() {
            while let Some(left) = self.held.age().and_then(|age| validity(self.held.lock.lease).checked_sub(age)) {
                if left.is_zero() {
                    break;
                }
                rt::sleep(left).await;
            }
        }
    }

    /// Does something for as long as the lock is held: if it is lost, the work is dropped where it stands.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::lock::{Lock, LockError};
    ///
    /// # dormouse_client::example(async |client| {
    /// let lock = Lock::new(&client, "reports").lease(Duration::from_millis(200));
    /// let guard = lock.try_acquire().await?.unwrap();
    /// assert_eq!(guard.run(async { 7 }).await?, 7);
    /// client.del("lock:reports").await?;
    /// let cancelled = guard.run(std::future::pending::<()>()).await;
    /// assert!(matches!(cancelled, Err(LockError::Lost)));
    /// # Ok(()) });
    /// ```
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, LockError> {
        let (mut work, mut lost) = (pin!(work), pin!(self.lost()));
        poll_fn(|context| {
            if lost.as_mut().poll(context).is_ready() || !self.is_valid() {
                return Poll::Ready(Err(LockError::Lost));
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
    }

    /// Gives the lock back; whether it was still held.
    pub async fn release(mut self) -> Result<bool> {
        self.released = true;
        self.held.grant(None);
        self.held.lock.give_back(&self.held.token).await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        self.held.grant(None);
        let held = Arc::clone(&self.held);
        // Without a runtime its deadline ends it.
        let _ = rt::spawn(async move {
            let _ = held.lock.give_back(&held.token).await;
        });
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Guard").field("fence", &self.fence).field("valid", &self.is_valid()).finish_non_exhaustive()
    }
}

/// Renews until the guard is gone or the lock is lost.
async fn renew(held: Arc<Held>, tell: watch::Sender<bool>) {
    let mut tried: Option<rt::Instant> = None;
    while !tell.is_closed() {
        let Some(age) = held.age() else { break };
        match next(held.lock.lease, age, tried.map(|tried| tried.elapsed())) {
            Next::Lost => break,
            Next::Wait(pause) => {
                let gone = pin!(tell.closed());
                let _ = rt::within(pause, gone).await;
            }
            Next::Renew => {
                let sent = rt::Instant::now();
                match held.lock.renew(&held.token).await {
                    // The guard may have gone meanwhile: then nothing is granted any more.
                    Ok(true) if held.age().is_some() => {
                        held.grant(Some(sent));
                        tried = None;
                    }
                    Ok(_) => break,
                    Err(error) => {
                        tracing::debug!(kind = error.kind(), "a lock could not be renewed");
                        tried = Some(sent);
                    }
                }
            }
        }
    }
    held.grant(None);
    let _ = tell.send(true);
}
