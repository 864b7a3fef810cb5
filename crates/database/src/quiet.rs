//! Lets whoever keeps house rest while nobody does anything.
//!
//! Housekeeping says that it is [`hushed`](Quiet::hush) before it looks around, so that whatever happens after its look ends
//! the quiet: the first command then calls back, all others pay one load of a flag that nobody writes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether nothing has happened since it was asked for.
#[derive(Default)]
pub(crate) struct Quiet {
    is_quiet: AtomicBool,
    on_end: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Quiet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Quiet").field("is_quiet", &self.is_quiet).finish_non_exhaustive()
    }
}

impl Quiet {
    /// What to do when the quiet ends. Only the first call counts.
    pub(crate) fn on_end(&self, call: Box<dyn Fn() + Send + Sync>) {
        let _ = self.on_end.set(call);
    }

    /// From now on nothing has happened.
    pub(crate) fn hush(&self) {
        self.is_quiet.store(true, Ordering::SeqCst);
    }

    /// Whether nothing has happened since.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::SeqCst)
    }

    /// Something happens. Called with the database held that it happens to: a look at it that came before has not seen it,
    /// and was preceded by a hush that this sees.
    #[inline]
    pub(crate) fn end(&self) {
        if self.is_quiet.load(Ordering::Relaxed) && self.is_quiet.swap(false, Ordering::SeqCst) {
            self.on_end.get().inspect(|call| call());
        }
    }
}
