//! A service in a directory of its own, with a clock and chance that move when told.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dormouse_database::{Delivery, Options, Outbox, Service, Session, Step};
use dormouse_engine::{Client, Door, Facts, Grant, Limits, Moment, Patient, Random, Watchdog};
use dormouse_proto::Reply;
use dormouse_storage::Durability;
use parking_lot::Mutex;

const TOKEN: &str = "a-token-for-tests";
/// Microseconds since the Unix epoch at which every test begins.
const BEGINNING_US: u64 = 1_700_000_000_000_000;

/// What passes for chance here: never the same twice.
fn not_entropy(bytes: &mut [u8]) {
    static TIMES: AtomicUsize = AtomicUsize::new(0);
    let mut random = Random::new(TIMES.fetch_add(1, Ordering::Relaxed) as u64);
    for byte in bytes.iter_mut() {
        *byte = random.next_u64() as u8;
    }
}

/// Keeps what is delivered, and whether the client was told to go.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Vec<Delivery>>, AtomicBool);

impl Outbox for Kept {
    fn deliver(&self, delivery: Delivery) {
        self.0.lock().push(delivery);
    }

    fn close(&self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

impl Kept {
    /// Whether the client was told to go since the last call.
    pub(crate) fn was_closed(&self) -> bool {
        self.1.swap(false, Ordering::Relaxed)
    }

    /// The replies that came since the last call.
    pub(crate) fn take(&self) -> Vec<Reply> {
        let deliveries = std::mem::take(&mut *self.0.lock());
        deliveries.into_iter().map(|(Delivery::Push { reply, .. } | Delivery::Unparked { reply, .. })| reply).collect()
    }
}

/// A watchdog that bites at once, or after some questions.
pub(crate) struct Bites(pub(crate) Cell<u32>);

impl Watchdog for Bites {
    fn expired(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left == 0
    }
}

/// One client at work.
pub(crate) struct Talk {
    pub(crate) session: Session,
    pub(crate) kept: Arc<Kept>,
}

/// See the module's text.
pub(crate) struct Bed {
    dir: tempfile::TempDir,
    memory_bytes_max: u64,
    service: Option<Arc<Service>>,
    talk: Option<Talk>,
    pub(crate) now_us: u64,
    seed: Cell<u64>,
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub(crate) fn words(line: &str) -> Vec<&[u8]> {
    line.split_whitespace().map(str::as_bytes).collect()
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::with_memory(1 << 30)
    }

    pub(crate) fn with_memory(memory_bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut bed =
            Self { dir, memory_bytes_max, service: None, talk: None, now_us: BEGINNING_US, seed: Cell::new(0) };
        bed.open();
        bed
    }

    /// Where its data is.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// A stop, in order.
    pub(crate) fn close(&mut self) {
        self.talk = None;
        self.service().close().unwrap();
        self.service = None;
    }

    /// What a process leaves that was killed: the log is not closed.
    pub(crate) fn cut(&mut self) {
        let dir = tempfile::tempdir().unwrap();
        self.service().log().sync().unwrap();
        copy_all(&self.data(), &dir.path().join("data"));
        self.talk = None;
        self.service = None;
        self.dir = dir;
    }

    /// A copy of its directory.
    pub(crate) fn copied(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy_all(&self.data(), &dir.path().join("data"));
        dir
    }

    /// On a directory that is there.
    pub(crate) fn on(dir: tempfile::TempDir, now_us: u64) -> Self {
        let mut bed = Self { dir, memory_bytes_max: 1 << 30, service: None, talk: None, now_us, seed: Cell::new(0) };
        bed.open();
        bed
    }

    pub(crate) fn open(&mut self) {
        let options = Options {
            dir: self.dir.path().join("data"),
            durability: Durability::Always,
            memory_bytes_max: self.memory_bytes_max,
            entropy: not_entropy,
            token: Some(TOKEN.to_owned()),
            read_only_token: None,
            limits: Limits::default(),
            facts: Facts::default(),
        };
        let lock = Service::lock(&options.dir).unwrap();
        self.service = Some(Arc::new(Service::open(&options, lock, self.moment()).unwrap()));
        self.talk = Some(self.talk());
    }

    pub(crate) fn service(&self) -> &Arc<Service> {
        self.service.as_ref().unwrap()
    }

    pub(crate) fn moment(&self) -> Moment {
        self.seed.set(self.seed.get() + 1);
        Moment { now_us: self.now_us, seed: self.seed.get() }
    }

    pub(crate) const fn pass_ms(&mut self, ms: u64) {
        self.now_us += ms * 1_000;
    }

    /// Another client, authenticated.
    pub(crate) fn talk(&self) -> Talk {
        let (service, kept) = (self.service(), Arc::new(Kept::default()));
        let client = Client::new(service.next_client(), Door::Resp, Grant::Full);
        let mut session = Session::connection(service, client, Arc::clone(&kept) as _);
        session.enter(service.authenticate(TOKEN.as_bytes()).unwrap().unwrap());
        Talk { session, kept }
    }

    /// As after `kill -9`: nothing is written that was not asked for before.
    pub(crate) fn crash(&mut self) {
        self.talk = None;
        let service = Arc::into_inner(self.service.take().unwrap()).expect("all sessions are gone");
        service.log().sync().unwrap();
        drop(service);
        self.open();
    }

    /// As [`Self::crash`], with clients that are still there.
    pub(crate) fn crash_after(&mut self, clients: Vec<Talk>) {
        drop(clients);
        self.crash();
    }

    /// A stop and a start.
    pub(crate) fn restart(&mut self) {
        self.talk = None;
        self.service().close().unwrap();
        self.service = None;
        self.open();
    }

    pub(crate) fn checkpoint(&self) -> usize {
        self.service().checkpoint().unwrap()
    }

    /// Everything to the store, nothing in memory.
    pub(crate) fn chill(&self) {
        self.checkpoint();
        for database in self.service().databases() {
            database.evict_idle();
            assert_eq!(database.memory_bytes(), 0, "what is clean can leave");
        }
    }

    /// Removes dead keys until there are none; how many rounds that took.
    pub(crate) fn reap(&self) -> usize {
        let database = self.service().authenticate(TOKEN.as_bytes()).unwrap().unwrap().database;
        let mut rounds = 1;
        while database.reap(self.moment()) {
            rounds += 1;
            assert!(rounds < 1_000, "it never ends");
        }
        rounds
    }

    pub(crate) fn run(&mut self, line: &str) -> Reply {
        self.run_args(&words(line))
    }

    pub(crate) fn run_args(&mut self, args: &[&[u8]]) -> Reply {
        let mut talk = self.talk.take().unwrap();
        let reply = talk.run_args(self, args);
        self.talk = Some(talk);
        reply
    }
}

impl Talk {
    pub(crate) fn step(&mut self, bed: &Bed, line: &str) -> Step {
        self.session.command(&words(line), bed.moment(), &Patient)
    }

    pub(crate) fn run(&mut self, bed: &Bed, line: &str) -> Reply {
        self.run_args(bed, &words(line))
    }

    fn run_args(&mut self, bed: &Bed, args: &[&[u8]]) -> Reply {
        match self.session.command(args, bed.moment(), &Patient) {
            Step::Reply { reply, .. } => reply,
            step => panic!("{step:?}"),
        }
    }
}

/// A reply's texts and numbers, flat.
pub(crate) fn texts(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Bulk(blob) | Reply::Status(blob) | Reply::Verbatim(blob) | Reply::BigNumber(blob) => {
            vec![String::from_utf8_lossy(blob).into_owned()]
        }
        Reply::Integer(number) => vec![number.to_string()],
        Reply::Double(number) => vec![number.to_string()],
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => items.iter().flat_map(texts).collect(),
        Reply::Map(pairs) | Reply::Pairs(pairs) | Reply::Keyed(pairs) => {
            pairs.iter().flat_map(|(left, right)| [texts(left), texts(right)].concat()).collect()
        }
        other => vec![format!("{other:?}")],
    }
}

pub(crate) fn sorted(reply: &Reply) -> Vec<String> {
    let mut texts = texts(reply);
    texts.sort();
    texts
}

pub(crate) fn error(reply: &Reply) -> String {
    match reply {
        Reply::Error(error) => error.to_string(),
        reply => panic!("no error: {reply:?}"),
    }
}
