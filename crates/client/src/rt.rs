//! What differs between platforms: time, tasks, and whether futures cross threads.
//!
//! With WebAssembly there is one thread, `setTimeout` and microtasks; elsewhere there is tokio. Nothing outside this module
//! and the transports may ask which of the two it is.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::future::{Either, select};

/// A boxed future; it can be sent to another thread except with WebAssembly, where there is none.
#[cfg(not(target_family = "wasm"))]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A boxed future; it can be sent to another thread except with WebAssembly, where there is none.
#[cfg(target_family = "wasm")]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A boxed stream; it can be sent to another thread except with WebAssembly, where there is none.
#[cfg(not(target_family = "wasm"))]
pub type BoxStream<'a, T> = Pin<Box<dyn futures_core::Stream<Item = T> + Send + 'a>>;
/// A boxed stream; it can be sent to another thread except with WebAssembly, where there is none.
#[cfg(target_family = "wasm")]
pub type BoxStream<'a, T> = Pin<Box<dyn futures_core::Stream<Item = T> + 'a>>;

/// What may have to cross threads: `Send`, except with WebAssembly, where there is one thread and everything is.
#[cfg(not(target_family = "wasm"))]
pub trait MaybeSend: Send {}
#[cfg(not(target_family = "wasm"))]
impl<T: Send + ?Sized> MaybeSend for T {}
/// What may have to cross threads: `Send`, except with WebAssembly, where there is one thread and everything is.
#[cfg(target_family = "wasm")]
pub trait MaybeSend {}
#[cfg(target_family = "wasm")]
impl<T: ?Sized> MaybeSend for T {}

#[cfg(not(target_family = "wasm"))]
pub(crate) use tokio::time::{Instant, sleep};
#[cfg(target_family = "wasm")]
pub(crate) use web_time::Instant;

/// Waits.
#[cfg(target_family = "wasm")]
pub(crate) async fn sleep(duration: Duration) {
    gloo_timers::future::sleep(duration).await;
}

/// Lets a task run by itself. Without a runtime there is nobody to run it: says so.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Result<(), ()> {
    let runtime = tokio::runtime::Handle::try_current().map_err(drop)?;
    drop(runtime.spawn(task));
    Ok(())
}

/// Lets a task run by itself.
#[cfg(target_family = "wasm")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there may be no runtime")]
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) -> Result<(), ()> {
    wasm_bindgen_futures::spawn_local(task);
    Ok(())
}

/// Lets other tasks go first, once.
pub(crate) async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut gave, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// What a future comes to, unless it takes longer than that.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), pin!(sleep(limit))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}

/// A random number above 0, up to 1.
pub(crate) fn random_unit() -> f64 {
    ((random_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

/// A token that nobody else has, and nobody can guess.
pub(crate) fn random_token() -> String {
    format!("{:016x}{:016x}", random_u64(), random_u64())
}

/// Random bits that nobody can guess.
pub(crate) fn random_u64() -> u64 {
    getrandom::u64().expect("the operating system gives random bytes")
}
