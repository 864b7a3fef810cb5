//! The threads of a server: a worker per core and the housekeeper, from the first to the last.
//!
//! What starts them has opened the listeners and the data directory; what stops them gets the last checkpoint. Nothing here
//! belongs to the process as a whole (no signals, no limits, no umask), so that several servers fit into one.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use dormouse_database::Service;
use tokio::sync::{Notify, watch};

use crate::Doors;
use crate::config::Config;
use crate::housekeeping::{Housekeeper, Rules};
use crate::patience::Patience;
use crate::perform::Shared;
use crate::tls::Tls;
use crate::worker::{self, CONNECTIONS_MAX, Listeners};

/// How long a script may go on once the server is to stop.
const SCRIPT_GRACE: Duration = Duration::from_secs(2);

/// See the module's text.
pub(crate) struct Running {
    service: Arc<Service>,
    stop: watch::Sender<bool>,
    workers: Vec<JoinHandle<anyhow::Result<()>>>,
    housekeeper: Housekeeper,
}

impl Running {
    /// Starts a worker for each listener of the HTTP door. `idle` is told when the process may end for want of work.
    pub(crate) fn start(
        config: &Config,
        service: &Arc<Service>,
        (http, resp): (Doors, Option<Doors>),
        tls: Option<Arc<Tls>>,
        idle: &Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            service: Arc::clone(service),
            resp_open: config.resp_open,
            block_over_rest: config.block_over_rest,
            patience: Patience::default(),
            connections: AtomicUsize::new(0),
            connections_max: CONNECTIONS_MAX,
            tls,
        });
        let rules = Rules {
            tail_bytes_max: config.checkpoint_bytes,
            sleep_after: config.sleep_after,
            idle_exit: config.idle_exit,
        };
        let housekeeper = Housekeeper::start(service, rules, Arc::clone(idle))?;
        let (stop, stopping) = watch::channel(false);
        let mut resp_sockets = resp.map(|doors| doors.sockets.into_iter());
        let mut workers = Vec::new();
        for (at, http) in http.sockets.into_iter().enumerate() {
            let resp = resp_sockets.as_mut().and_then(Iterator::next);
            let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
            let run = move || worker::run(shared, Listeners { http, resp }, stopping);
            workers.push(std::thread::Builder::new().name(format!("worker-{at}")).spawn(run)?);
        }
        Ok(Self { service: Arc::clone(service), stop, workers, housekeeper })
    }

    /// Becomes true when the server is to stop.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    /// Drains the workers, has `before_last` done, and writes the last checkpoint.
    pub(crate) fn stop(self, before_last: impl FnOnce()) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        end_scripts(&self.service, &self.workers);
        for worker in self.workers {
            match worker.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a worker had failed"),
            }
        }
        before_last();
        self.housekeeper.stop();
        self.service.close().context("the last checkpoint failed; the log still has everything")
    }
}

/// Waits for the workers, and ends scripts that would keep them: what those did is taken back.
fn end_scripts<T>(service: &Service, workers: &[std::thread::JoinHandle<T>]) {
    let patient_until = Instant::now() + SCRIPT_GRACE;
    while !workers.iter().all(std::thread::JoinHandle::is_finished) {
        if Instant::now() >= patient_until {
            for database in service.databases() {
                database.end_script();
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
