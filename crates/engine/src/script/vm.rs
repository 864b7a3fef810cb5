//! The interpreter of a thread, and one run of a script in it.
//!
//! Making a Lua state costs far more than running most scripts, so a thread keeps one, with the scripts it has compiled.
//! What a run may leave behind is nothing: libraries are locked (`sandbox.rs`), [`Shared`] is set afresh, and garbage past
//! a bound is collected. If a run panics, its interpreter is dropped with it.
//!
//! Rust code inside Lua cannot borrow the transaction, which lives shorter than the interpreter. Each run therefore opens
//! one *door*: a scoped function, known as `redis.call`, through which commands and the watchdog's question go. The hook
//! that counts instructions knocks there too.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use dormouse_proto::{Args, Blob, CommandError, Reply};
use hashbrown::HashMap;
use mlua::{Function, HookTriggers, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value, VmState};

use super::convert::{self, Fields};
use super::sandbox::{self, Sandbox};
use super::{Call, READ_ONLY, SAYS_IT_WRITES, Scope, api, chunk};
use crate::libraries;
use crate::txn::{Outcome, Stop, Txn};

/// Instructions between two questions to the watchdog.
const INSTRUCTIONS_PER_QUESTION: u32 = 1_000;
/// Bytes that libraries work through between two questions, and what a value counts for.
const BYTES_PER_QUESTION: usize = 1 << 20;
const BYTES_PER_VALUE: usize = 100;
/// Most compiled scripts a thread keeps, and most bytes of their text; past either, all go.
const CHUNKS_MAX: usize = 512;
const CHUNK_BYTES_MAX: usize = 8 << 20;
/// Memory an idle interpreter may hold beyond what it began with.
const IDLE_BYTES_MAX: usize = 16 << 20;

/// Why Rust code ends a script, or the part of it under a `pcall`.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// A command failed: the error as the client would get it. Lua sees `{err = …}`.
    #[error("{0}")]
    Reply(String),
    /// The watchdog ended the script. Lua never gets to see this.
    #[error("the script was ended")]
    Ended,
}

impl From<Fault> for mlua::Error {
    fn from(fault: Fault) -> Self {
        Self::external(fault)
    }
}

/// An error that left the script.
#[derive(Debug)]
pub(super) struct Failure {
    /// The text, its code first.
    pub(super) text: String,
    /// Source and line.
    pub(super) place: Option<(String, usize)>,
}

/// What a call through the door is about.
#[derive(Clone, Copy, Debug, Default)]
enum Knock {
    /// A command to run.
    #[default]
    Command,
    /// Whether the time is up.
    Watchdog,
    /// Whether a command may be run.
    Permission,
}

/// What `redis.register_function` is called for.
#[derive(Debug, Default)]
pub(super) enum Registering {
    /// No library is loaded: nobody can call it.
    #[default]
    Nothing,
    /// To learn what a library has.
    All(Vec<libraries::Function>),
    /// To call one of its functions.
    One {
        /// Its name, in any case.
        wanted: String,
        /// The function, once it was registered.
        found: Option<Function>,
    },
}

/// What the functions of an interpreter share about the run at work.
#[derive(Debug)]
pub(super) struct Shared {
    /// The door of this run.
    door: RefCell<Option<Function>>,
    /// What the next knock at the door is about.
    knock: Cell<Knock>,
    /// The watchdog has answered.
    pub(super) ended: Cell<bool>,
    /// RESP version that replies look like inside the script.
    pub(super) resp: Cell<u8>,
    /// State of `math.random`; the low 48 bits count.
    pub(super) draws: Cell<u64>,
    /// What `os.clock` will say next, in microseconds.
    pub(super) clock_us: Cell<u64>,
    /// Most bytes one value may take on its way out of Lua.
    pub(super) bytes_max: Cell<usize>,
    /// Most memory Lua may hold in this run, or 0 while none is at work.
    limit: Cell<usize>,
    /// The library that is loaded, if one is.
    pub(super) registering: RefCell<Registering>,
    /// Questions to the watchdog after which a library has taken too long to load.
    questions_left: Cell<Option<u32>>,
    /// Bytes that libraries have worked through since the last question to the watchdog.
    bytes: Cell<usize>,
    /// Settings of `cjson`.
    pub(super) json: Cell<super::cjson::Settings>,
    /// The error that left the script, if one did.
    pub(super) failure: RefCell<Option<Failure>>,
}

impl Shared {
    fn new() -> Self {
        Self {
            door: RefCell::default(),
            knock: Cell::default(),
            ended: Cell::default(),
            resp: Cell::new(2),
            draws: Cell::default(),
            clock_us: Cell::default(),
            bytes_max: Cell::default(),
            limit: Cell::default(),
            registering: RefCell::default(),
            questions_left: Cell::default(),
            bytes: Cell::default(),
            json: Cell::default(),
            failure: RefCell::default(),
        }
    }

    fn reset(&self, seed: u64) {
        self.ended.set(false);
        self.knock.set(Knock::Command);
        self.resp.set(2);
        self.draws.set(seed);
        self.clock_us.set(0);
        self.json.set(super::cjson::Settings::default());
        self.failure.replace(None);
        self.registering.replace(Registering::Nothing);
        self.questions_left.set(None);
    }

    /// A library reads or writes one more value, of which there may be millions. An error if the script must end.
    pub(super) fn count_value(&self) -> mlua::Result<()> {
        self.count_bytes(BYTES_PER_VALUE)
    }

    /// A library works through so many bytes.
    pub(super) fn count_bytes(&self, bytes: usize) -> mlua::Result<()> {
        let bytes = self.bytes.get().saturating_add(bytes);
        if bytes < BYTES_PER_QUESTION {
            self.bytes.set(bytes);
            return Ok(());
        }
        self.bytes.set(0);
        self.ask()
    }

    /// Asks the watchdog, from code that may run long. An error if the script must end.
    pub(super) fn ask(&self) -> mlua::Result<()> {
        let left = self.questions_left.get();
        self.questions_left.set(left.map(|left| left.saturating_sub(1)));
        if left == Some(0) {
            self.ended.set(true);
        }
        if !self.ended.get() {
            let Some(door) = self.door.borrow().clone() else { return Ok(()) };
            self.knock.set(Knock::Watchdog);
            door.call::<()>(())?;
        }
        if self.ended.get() { Err(Fault::Ended.into()) } else { Ok(()) }
    }
}

impl Shared {
    /// Makes small things in Lua with its limit on memory lifted, under which every step costs a protected call. The limit
    /// is looked at again right after.
    pub(super) fn relaxed<T>(&self, lua: &Lua, small: bool, make: impl FnOnce() -> mlua::Result<T>) -> mlua::Result<T> {
        if !small {
            return make();
        }
        limit(lua, 0);
        let made = make();
        limit(lua, self.limit.get());
        made
    }

    /// Whether the client may run a command: `redis.acl_check_cmd`.
    pub(super) fn may_run(&self, args: MultiValue) -> mlua::Result<Value> {
        let Some(door) = self.door.borrow().clone() else { return Ok(Value::Nil) };
        self.knock.set(Knock::Permission);
        door.call(args)
    }
}

/// How a text becomes a function.
type Compile = fn(&Lua, &[u8]) -> Result<(chunk::Flags, Function), CommandError>;

/// A Lua state, ready to run scripts.
pub(super) struct Interpreter {
    lua: Lua,
    shared: Rc<Shared>,
    sandbox: Sandbox,
    fields: Fields,
    chunks: HashMap<Box<str>, (chunk::Flags, Function)>,
    chunk_bytes: usize,
    /// Memory it took when it was new.
    baseline: usize,
}

thread_local! {
    static INTERPRETER: Cell<Option<Box<Interpreter>>> = const { Cell::new(None) };
}

/// Lends the thread's interpreter.
fn with<T>(work: impl FnOnce(&mut Interpreter) -> T) -> T {
    let mut interpreter = INTERPRETER.take().unwrap_or_else(|| Box::new(Interpreter::new()));
    let done = work(&mut interpreter);
    interpreter.tidy();
    INTERPRETER.set(Some(interpreter));
    done
}

/// Compiles a script and keeps it; see [`super::compile`].
pub(super) fn compile(source: &[u8], sha: &str) -> Result<(), CommandError> {
    with(|interpreter| interpreter.chunk(sha, source, chunk::compile).map(|_| ()))
}

/// Runs a function of a library; see [`super::run_function`].
pub(super) fn run_function(txn: &mut Txn<'_>, function: &libraries::Function, call: Call<'_>) -> Outcome {
    with(|interpreter| interpreter.run_function(txn, function, call))
}

/// Runs a library's text and returns the functions it registers.
pub(super) fn load(txn: &mut Txn<'_>, source: &[u8], sha: &str) -> Result<Vec<libraries::Function>, Stop> {
    with(|interpreter| interpreter.load(txn, source, sha))
}

/// Runs a script; see [`super::run`].
pub(super) fn run(txn: &mut Txn<'_>, call: Call<'_>) -> Outcome {
    with(|interpreter| interpreter.run(txn, call))
}

/// Has the watchdog asked every so many instructions from here on. Each run begins to count anew: a question needs a few slots of
/// the stack, so where it falls could decide whether a script that fills the stack for a moment fails, and what ran before must not.
fn count_from_here(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<()> {
    let asked = Rc::clone(shared);
    let every = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_QUESTION);
    lua.set_global_hook(every, move |_, _| asked.ask().map(|()| VmState::Continue))
}

impl Interpreter {
    fn new() -> Self {
        let build = || -> mlua::Result<Self> {
            let lua = Lua::new_with(StdLib::TABLE | StdLib::STRING | StdLib::MATH, LuaOptions::default())?;
            let shared = Rc::new(Shared::new());
            let sandbox = sandbox::build(&lua, &shared)?;
            let fields = Fields::new(&lua)?;
            count_from_here(&lua, &shared)?;
            lua.gc_collect()?;
            let baseline = lua.used_memory();
            let (chunks, chunk_bytes) = (HashMap::new(), 0);
            Ok(Self { lua, shared, sandbox, fields, chunks, chunk_bytes, baseline })
        };
        build().expect("the sandbox is built from our own code, which does not fail")
    }

    /// Drops what the last run left, if that is much.
    fn tidy(&mut self) {
        if self.lua.used_memory() > self.baseline + IDLE_BYTES_MAX {
            self.sandbox.forget_arguments();
            self.collect();
            if self.lua.used_memory() > self.baseline + IDLE_BYTES_MAX {
                self.chunks.clear();
                self.chunk_bytes = 0;
                self.collect();
            }
        }
    }

    fn collect(&self) {
        // No value of ours has a finaliser that could fail.
        self.lua.gc_collect().expect("collecting garbage runs no script");
    }

    /// A compiled text. Scripts and libraries differ in their first lines, so that no text is compiled as both.
    fn chunk(&mut self, sha: &str, source: &[u8], compile: Compile) -> Result<(chunk::Flags, Function), CommandError> {
        if let Some((flags, function)) = self.chunks.get(sha) {
            return Ok((*flags, function.clone()));
        }
        let (flags, function) = compile(&self.lua, source)?;
        if self.chunks.len() >= CHUNKS_MAX || self.chunk_bytes + source.len() > CHUNK_BYTES_MAX {
            self.chunks.clear();
            self.chunk_bytes = 0;
        }
        self.chunk_bytes += source.len();
        self.chunks.insert(sha.into(), (flags, function.clone()));
        Ok((flags, function))
    }

    fn run(&mut self, txn: &mut Txn<'_>, call: Call<'_>) -> Outcome {
        let (flags, function) = self.chunk(call.sha, call.source, chunk::compile)?;
        txn.check_script(flags.given, flags.allow_oom, flags.no_writes)?;
        txn.script = Some(Scope {
            read_only: read_only(call.read_only, flags.no_writes, flags.given),
            keys: flags.key_locking.then(|| call.keys.iter().copied().map(Blob::from).collect()),
            runs_all: txn.hub().scripts_run_all,
        });
        self.shared.reset(txn.random().next_u64());
        let arguments = self.arguments(call).and_then(|(keys, args)| self.sandbox.set_arguments(keys, args));
        let result = arguments.and_then(|()| self.enter(txn, || self.sandbox.protect.call(&function)));
        self.conclude(result, |failure| report(failure, call.sha))
    }

    fn run_function(&mut self, txn: &mut Txn<'_>, function: &libraries::Function, call: Call<'_>) -> Outcome {
        let (_, library) = self.chunk(call.sha, call.source, chunk::compile_library)?;
        txn.check_script(true, function.flags.allow_oom(), function.flags.no_writes())?;
        txn.script = Some(Scope {
            read_only: read_only(call.read_only, function.flags.no_writes(), true),
            keys: function.flags.key_locking().then(|| call.keys.iter().copied().map(Blob::from).collect()),
            runs_all: txn.hub().scripts_run_all,
        });
        self.shared.reset(txn.random().next_u64());
        self.shared.registering.replace(Registering::One { wanted: function.name.clone(), found: None });
        self.sandbox.forget_arguments();
        let result = self.arguments(call).and_then(|(keys, args)| {
            self.enter(txn, || {
                let (loaded, failure) = self.sandbox.load(&library)?;
                match self.shared.registering.take() {
                    _ if !loaded => Ok((false, failure)),
                    Registering::One { found: Some(found), .. } => {
                        self.sandbox.protect_function.call((found, keys, args))
                    }
                    _ => Err(Fault::Reply("ERR Function not found".to_owned()).into()),
                }
            })
        });
        self.conclude(result, |failure| report(failure, &function.name))
    }

    fn load(&mut self, txn: &mut Txn<'_>, source: &[u8], sha: &str) -> Result<Vec<libraries::Function>, Stop> {
        let (_, library) = self.chunk(sha, source, chunk::compile_library)?;
        self.shared.reset(txn.random().next_u64());
        self.shared.registering.replace(Registering::All(Vec::new()));
        self.shared.questions_left.set(Some(txn.hub().limits.library_load_kinstructions_max));
        self.sandbox.forget_arguments();
        let result = self.enter(txn, || self.sandbox.load(&library));
        let failed = |text: &str| CommandError::from(format!("ERR Error registering functions: {text}"));
        let overrun = self.shared.ended.get() && self.shared.questions_left.get() == Some(0);
        let ended = self.conclude(result, |failure| failed(&failure.text));
        if overrun {
            return Err(failed("ERR FUNCTION LOAD timeout").into());
        }
        ended?;
        match self.shared.registering.take() {
            Registering::All(functions) => Ok(functions),
            Registering::Nothing | Registering::One { .. } => Ok(Vec::new()),
        }
    }

    /// What becomes of a run.
    fn conclude(
        &self,
        result: mlua::Result<Result<Reply, Failure>>,
        report: impl FnOnce(Failure) -> CommandError,
    ) -> Outcome {
        self.shared.door.replace(None);
        if self.shared.ended.get() {
            return Err(Stop::Aborted);
        }
        match result {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(failure)) => Err(report(failure).into()),
            // Whatever mlua itself ran into, as a rule the limit on memory.
            Err(error) => {
                let text = match sandbox::problem(&error) {
                    sandbox::Problem::Reply(text) => text,
                    sandbox::Problem::Text(text) => format!("ERR {text}"),
                    sandbox::Problem::Ended => return Err(Stop::Aborted),
                };
                Err(report(Failure { text, place: None }).into())
            }
        }
    }

    /// Opens the door for a run and takes in what it returns.
    fn enter(
        &self,
        txn: &mut Txn<'_>,
        run: impl FnOnce() -> mlua::Result<(bool, Value)>,
    ) -> mlua::Result<Result<Reply, Failure>> {
        self.shared.bytes_max.set(txn.hub().limits.script_bytes_max);
        let txn = RefCell::new(txn);
        self.lua.scope(|scope| {
            let door = scope.create_function(|lua, args: MultiValue| {
                let mut txn = txn.borrow_mut();
                match self.shared.knock.take() {
                    Knock::Command => api::call(lua, &mut txn, &self.shared, &args),
                    Knock::Watchdog => {
                        self.shared.ended.set(txn.expired());
                        Ok(Value::Nil)
                    }
                    Knock::Permission => api::check_command(&mut txn, &args),
                }
            })?;
            self.sandbox.open(&door)?;
            self.shared.door.replace(Some(door));
            // What the run itself needs is there: from here on memory is counted.
            let most = self.lua.used_memory().saturating_add(self.shared.bytes_max.get());
            self.shared.limit.set(most);
            limit(&self.lua, most);
            count_from_here(&self.lua, &self.shared)?;
            let ended = run();
            self.shared.limit.set(0);
            limit(&self.lua, 0);
            let (fine, value): (bool, Value) = ended?;
            if fine {
                return Ok(convert::reply(&self.fields, value, self.shared.resp.get(), self.shared.bytes_max.get()));
            }
            // No failure noted: Lua could not even run the handler that notes it.
            Ok(Err(self.shared.failure.take().unwrap_or_else(|| sandbox::failure(&self.lua, &value))))
        })
    }

    fn arguments(&self, call: Call<'_>) -> mlua::Result<(Table, Table)> {
        Ok((self.strings(call.keys)?, self.strings(call.args)?))
    }

    fn strings(&self, args: Args<'_>) -> mlua::Result<Table> {
        self.lua.create_sequence_from(args.iter().map(LuaString::wrap))
    }
}

/// Why a script may not write: called so, or flagged so. `says` is whether it has flags at all.
const fn read_only(called: bool, flagged: bool, says: bool) -> Option<&'static str> {
    match (called, flagged) {
        (true, false) if says => Some(SAYS_IT_WRITES),
        (false, false) => None,
        _ => Some(READ_ONLY),
    }
}

/// Sets the most memory Lua may hold; 0 is any.
fn limit(lua: &Lua, bytes: usize) {
    lua.set_memory_limit(bytes).expect("Lua's memory is counted by mlua's own allocator");
}

/// The error a client gets, with the place in the script.
fn report(failure: Failure, sha: &str) -> CommandError {
    CommandError::from(match failure.place {
        Some((source, line)) => format!("{} script: {sha}, on {source}:{line}.", failure.text),
        None => failure.text,
    })
}
