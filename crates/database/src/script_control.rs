//! A long script that holds its database: what others see of it, and how it is ended.
//!
//! Nobody can look into the database meanwhile, so what they may ask for (which function is at work, how many libraries there
//! are) is noted here when the script begins. A script is ended by `SCRIPT KILL`, a function by `FUNCTION KILL`, and never the
//! one by the other's command. Nothing here waits for the script.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dormouse_engine::{Hub, Keyspace, Moment, Running, Shelf, Watchdog};
use dormouse_proto::{Args, Blob, CommandError};
use parking_lot::Mutex;

use crate::database::{Database, State};

/// Ends a long script: by an operator's `SCRIPT KILL` or `FUNCTION KILL`, or by its time limit.
#[derive(Debug, Default)]
pub struct ScriptControl {
    pub(crate) running: AtomicBool,
    pub(crate) killed: AtomicBool,
    /// What others may know of it while it holds the database.
    shown: Mutex<Shown>,
}

#[derive(Clone, Debug, Default)]
struct Shown {
    /// What it is.
    running: Running,
    /// The libraries as they were when it began.
    shelf: Shelf,
    began_ms: u64,
}

impl Database {
    /// Notes what others may know while a long script holds the database.
    pub(crate) fn note_long_script(&self, state: &mut State, moment: Moment) {
        let cold = self.cold(state);
        // If the store cannot be read, those who ask for the libraries learn nothing of them; it is logged.
        let shelf =
            state.space.load_libraries(&cold).map_or_else(|_| Shelf::default(), |()| state.space.shelf().clone());
        self.note_busy_after(state);
        *self.script.shown.lock() = Shown { running: Running::Script, shelf, began_ms: moment.now_ms() };
    }

    /// Whether what holds the database, or did last, is a function.
    pub(crate) fn is_function_running(&self) -> bool {
        self.script.shown.lock().running != Running::Script
    }

    /// What a command that works beside a long script may know: libraries, and the function at work.
    pub(crate) fn beside(&self) -> (Keyspace, Hub) {
        let Shown { running, shelf, .. } = self.script.shown.lock().clone();
        let (mut space, mut hub) = (Keyspace::default(), Hub::default());
        *space.shelf() = shelf;
        hub.running = Some(running);
        (space, hub)
    }

    /// Whether a long script has begun.
    pub fn is_script_running(&self) -> bool {
        self.script.running.load(Ordering::Acquire)
    }

    /// Whether a script has held the database for so long that others are told so.
    pub fn is_busy_past_limit(&self, now_ms: u64) -> bool {
        self.is_script_running() && {
            let began_ms = self.script.shown.lock().began_ms;
            Duration::from_millis(now_ms.saturating_sub(began_ms)) >= self.busy_after()
        }
    }

    /// What others are told while a long script holds the database.
    pub fn busy_error(&self) -> CommandError {
        if self.is_function_running() { CommandError::BusyFunction } else { CommandError::Busy }
    }

    /// Ends the script that holds the database, if it is none of a function.
    pub fn kill_script(&self) -> Result<(), CommandError> {
        self.kill(false)
    }

    /// Ends the function that holds the database.
    pub fn kill_function(&self) -> Result<(), CommandError> {
        self.kill(true)
    }

    /// Ends whatever holds the database, for a server that stops.
    pub fn end_script(&self) {
        if self.is_script_running() {
            self.script.killed.store(true, Ordering::Release);
        }
    }

    fn kill(&self, function: bool) -> Result<(), CommandError> {
        if !self.is_script_running() {
            return Err(CommandError::NotBusy);
        }
        if self.is_function_running() != function {
            return Err(self.busy_error());
        }
        self.script.killed.store(true, Ordering::Release);
        Ok(())
    }
}

/// The watchdog of a long script: an operator's word, or a limit.
pub(crate) struct Leash<'a> {
    pub(crate) control: &'a ScriptControl,
    pub(crate) limit: &'a dyn Watchdog,
}

impl Watchdog for Leash<'_> {
    fn expired(&self) -> bool {
        self.control.killed.load(Ordering::Relaxed) || self.limit.expired()
    }

    fn clock_us(&self) -> u64 {
        self.limit.clock_us()
    }

    fn begins(&self, function: Option<&str>, command: Args<'_>) {
        let mut shown = self.control.shown.lock();
        let since_ms = shown.began_ms;
        let command = || command.iter().map(|arg| Blob::from(*arg)).collect();
        shown.running = function.map_or(Running::Script, |name| Running::Function {
            name: name.to_owned(),
            command: command(),
            since_ms,
        });
    }
}
