//! Libraries of functions: Redis's second kind of script, which is data.
//!
//! A library is text and what came of running it once: the names, descriptions and flags of its functions. Both are kept, so
//! that replaying the log, listing libraries and finding a function need no interpreter. Libraries are few and small (see
//! `Limits`), so the store has all of a database's in one record, read when first asked for and written whole.
//!
//! They belong to a database as its keys do (logged, rolled back, checkpointed, asleep until somebody asks), yet are no
//! keys: `FLUSHALL` leaves them. A library must never be changed in place: whoever holds one may be running it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::script;

/// Version of the layout of the stored libraries.
const VERSION: u8 = 1;
/// What a function costs in memory beside its texts.
const FUNCTION_BYTES: usize = 160;
/// What a library costs in memory beside its text.
const LIBRARY_BYTES: usize = 240;

/// The flags a function may have, each with its bit, in the order in which they are listed.
const FLAGS: [(&str, u8); 6] = [
    ("no-writes", 1),
    ("allow-oom", 1 << 1),
    ("allow-stale", 1 << 2),
    ("no-cluster", 1 << 3),
    ("allow-cross-slot-keys", 1 << 4),
    ("allow-key-locking", 1 << 5),
];

/// What a function says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FunctionFlags(u8);

impl FunctionFlags {
    /// Adds a flag by name; whether there is such a flag.
    pub(crate) fn add(&mut self, name: &[u8]) -> bool {
        let known = FLAGS.iter().find(|(known, _)| known.as_bytes() == name);
        self.0 |= known.map_or(0, |(_, bit)| *bit);
        known.is_some()
    }

    /// Their names.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        FLAGS.iter().filter(move |(_, bit)| self.0 & bit != 0).map(|(name, _)| *name)
    }

    /// It may not write.
    pub(crate) const fn no_writes(self) -> bool {
        self.0 & FLAGS[0].1 != 0
    }

    /// It may run while memory is full.
    pub(crate) const fn allow_oom(self) -> bool {
        self.0 & FLAGS[1].1 != 0
    }

    /// It may name the keys it was given only.
    pub(crate) const fn key_locking(self) -> bool {
        self.0 & FLAGS[5].1 != 0
    }
}

/// One function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name, as registered; it is called in any case.
    pub(crate) name: String,
    /// What it says it does.
    pub(crate) description: Option<Vec<u8>>,
    /// Its flags.
    pub(crate) flags: FunctionFlags,
}

/// A library; see the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Library {
    /// Its name.
    pub(crate) name: String,
    /// Its text, first line included.
    pub(crate) source: Vec<u8>,
    /// Its functions, in the order in which it registers them.
    pub(crate) functions: Vec<Function>,
    /// The name its compiled text is kept under.
    pub(crate) sha: String,
}

impl Library {
    /// A library of a text and what it registers.
    pub(crate) fn new(name: String, source: Vec<u8>, functions: Vec<Function>) -> Self {
        let sha = script::sha(&source);
        Self { name, source, functions, sha }
    }

    /// A function by name, in any case.
    pub(crate) fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }

    /// Bytes of memory it takes, near enough, which are also what counts against the limit.
    pub(crate) fn bytes(&self) -> usize {
        let texts = |function: &Function| function.name.len() + function.description.as_ref().map_or(0, Vec::len);
        let functions: usize = self.functions.iter().map(|function| FUNCTION_BYTES + texts(function)).sum();
        LIBRARY_BYTES + self.name.len() + self.source.len() + functions
    }

    /// Writes it as bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        put_bytes(out, &self.source);
        put_int(out, self.functions.len() as u64);
        for function in &self.functions {
            put_bytes(out, function.name.as_bytes());
            out.push(function.flags.0);
            out.push(u8::from(function.description.is_some()));
            if let Some(description) = &function.description {
                put_bytes(out, description);
            }
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (name, source) = (text(input)?, input.bytes()?.to_vec());
        let count = input.count()?;
        let mut functions = Vec::with_capacity(count);
        for _ in 0..count {
            let (name, flags) = (text(input)?, FunctionFlags(input.byte()?));
            let description = if input.byte()? == 0 { None } else { Some(input.bytes()?.to_vec()) };
            functions.push(Function { name, description, flags });
        }
        Ok(Self::new(name, source, functions))
    }
}

fn text(input: &mut Reader<'_>) -> Result<String, Corrupt> {
    String::from_utf8(input.bytes()?.to_vec()).map_err(|_| Corrupt("the name of a function or library"))
}

/// A change of a database's libraries: what the log records and replays.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A library comes, in the place of another of the same name.
    Put(Arc<Library>),
    /// A library goes.
    Remove(String),
}

/// The libraries of one database.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    by_name: BTreeMap<String, Arc<Library>>,
    /// Where each function is, by its name in lower case.
    by_function: HashMap<String, Arc<Library>>,
    bytes: usize,
}

impl Libraries {
    /// Their texts, in the order of their names.
    pub fn sources(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|library| library.source.as_slice())
    }

    /// In the order of their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Library>> {
        self.by_name.values()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// How many functions they have.
    pub(crate) fn functions(&self) -> usize {
        self.by_function.len()
    }

    /// Bytes of memory they take, near enough.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A library by name.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Library>> {
        self.by_name.get(name)
    }

    /// The library that has a function.
    pub(crate) fn with_function(&self, name: &str) -> Option<&Arc<Library>> {
        self.by_function.get(&name.to_ascii_lowercase())
    }

    /// Applies a change and returns its inverse.
    pub(crate) fn apply(&mut self, change: Change) -> Change {
        match change {
            Change::Remove(name) => self.take(&name).map_or(Change::Remove(name), Change::Put),
            Change::Put(library) => {
                let old = self.take(&library.name);
                self.bytes += library.bytes();
                for function in &library.functions {
                    self.by_function.insert(function.name.to_ascii_lowercase(), Arc::clone(&library));
                }
                let name = library.name.clone();
                self.by_name.insert(name.clone(), library);
                old.map_or(Change::Remove(name), Change::Put)
            }
        }
    }

    fn take(&mut self, name: &str) -> Option<Arc<Library>> {
        let library = self.by_name.remove(name)?;
        self.bytes = self.bytes.saturating_sub(library.bytes());
        for function in &library.functions {
            self.by_function.remove(&function.name.to_ascii_lowercase());
        }
        Some(library)
    }

    /// Writes them all, with the number of the transaction that last changed them.
    fn write(&self, seq: u64) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_int(&mut out, seq);
        put_int(&mut out, self.len() as u64);
        self.iter().for_each(|library| library.write(&mut out));
        out
    }

    /// Reads what [`Shelf::to_store`] wrote.
    pub fn read(bytes: &[u8]) -> Result<(u64, Self), Corrupt> {
        let mut input = Reader::new(bytes);
        if input.byte()? != VERSION {
            return Err(Corrupt("a version of libraries this release knows"));
        }
        let seq = input.int()?;
        let mut libraries = Self::default();
        for _ in 0..input.count()? {
            libraries.apply(Change::Put(Arc::new(Library::read(&mut input)?)));
        }
        if input.is_done() { Ok((seq, libraries)) } else { Err(Corrupt("the end of the libraries")) }
    }
}

/// A database's libraries between memory and the store.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// What there is; `None` as long as only the store knows.
    here: Option<Arc<Libraries>>,
    /// The transaction that last changed them.
    seq: u64,
    /// Whether memory is ahead of the store.
    dirty: bool,
    /// Whether they were used since their turn to leave memory last came.
    hot: bool,
}

impl Shelf {
    /// The libraries, if they are in memory.
    pub(crate) const fn here(&self) -> Option<&Arc<Libraries>> {
        self.here.as_ref()
    }

    /// Takes in what the store has.
    pub(crate) fn admit(&mut self, stored: Option<(u64, Libraries)>) {
        if self.here.is_none() {
            let (seq, libraries) = stored.unwrap_or_default();
            (self.seq, self.here) = (seq, Some(Arc::new(libraries)));
        }
    }

    /// Lends the libraries for use, and says which transaction last changed them.
    pub(crate) fn lend(&mut self) -> (u64, Arc<Libraries>) {
        self.hot = true;
        (self.seq, self.here.clone().unwrap_or_default())
    }

    /// The transaction that last changed them.
    pub(crate) const fn seq(&self) -> u64 {
        self.seq
    }

    /// Applies a change, and returns its inverse.
    pub(crate) fn apply(&mut self, change: Change, seq: u64) -> Change {
        (self.seq, self.dirty, self.hot) = (seq, true, true);
        Arc::make_mut(self.here.get_or_insert_default()).apply(change)
    }

    /// Bytes of memory they take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.here.as_ref().map_or(0, |libraries| libraries.bytes())
    }

    /// What there is, for tests: equal texts mean equal libraries.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn canonical(&self) -> String {
        format!("{:?}", self.here.iter().flat_map(|libraries| libraries.iter()).collect::<Vec<_>>())
    }

    /// What the store must be told: up to which transaction, and the record, or that there is none any more.
    pub fn to_store(&self) -> Option<(u64, Option<Vec<u8>>)> {
        let libraries = self.here.as_ref().filter(|_| self.dirty)?;
        Some((self.seq, (libraries.len() > 0).then(|| libraries.write(self.seq))))
    }

    /// The store has what they were at `seq`.
    pub fn settle(&mut self, seq: u64) {
        self.dirty &= self.seq != seq;
    }

    /// Their turn has come: what was not used since it last did, and the store has, leaves memory.
    pub(crate) fn cool(&mut self) {
        if !std::mem::take(&mut self.hot) {
            self.release();
        }
    }

    /// What the store has leaves memory.
    pub(crate) fn release(&mut self) {
        if !self.dirty {
            self.here = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(name: &str, functions: &[&str]) -> Arc<Library> {
        let flags = FunctionFlags(functions.len() as u8);
        let function = |name: &&str| Function { name: (*name).to_owned(), description: Some(vec![0, 255]), flags };
        Arc::new(Library::new(name.to_owned(), b"text\xff".to_vec(), functions.iter().map(function).collect()))
    }

    fn shown(libraries: &Libraries) -> String {
        let mut functions: Vec<_> =
            libraries.by_function.iter().map(|(name, library)| format!("{name}@{}", library.name)).collect();
        functions.sort();
        format!("{:?} {functions:?} {}", libraries.by_name, libraries.bytes)
    }

    #[test]
    fn every_change_has_an_exact_inverse() {
        let mut libraries = Libraries::default();
        let changes = [
            Change::Put(library("a", &["F", "g"])),
            Change::Put(library("b", &["h"])),
            Change::Put(library("a", &["g", "i", "j"])),
            Change::Remove("b".to_owned()),
            Change::Remove("missing".to_owned()),
        ];
        let mut before = Vec::new();
        for change in changes {
            let was = shown(&libraries);
            before.push((was, libraries.apply(change)));
        }
        assert_eq!((libraries.len(), libraries.functions()), (1, 3));
        assert!(libraries.with_function("F").is_none(), "the new text has it no more");
        assert!(libraries.with_function("I").is_some(), "functions are found in any case");
        for (was, inverse) in before.into_iter().rev() {
            libraries.apply(inverse);
            assert_eq!(shown(&libraries), was);
        }
    }

    #[test]
    fn a_shelf_reads_back_what_it_stores_and_forgets_what_is_stored() {
        let mut shelf = Shelf::default();
        shelf.admit(None);
        assert_eq!(shelf.to_store(), None);
        shelf.apply(Change::Put(library("a", &["f"])), 7);
        let (seq, record) = shelf.to_store().unwrap();
        let record = record.unwrap();
        let (read_seq, read) = Libraries::read(&record).unwrap();
        assert_eq!((seq, read_seq, shown(&read)), (7, 7, shown(&shelf.lend().1)));
        for end in 0..record.len() {
            assert!(Libraries::read(&record[..end]).is_err());
        }
        shelf.settle(6);
        assert!(shelf.to_store().is_some(), "they have changed since");
        shelf.cool();
        shelf.cool();
        assert!(shelf.here().is_some(), "the store does not have them");
        shelf.settle(7);
        assert_eq!(shelf.to_store(), None);
        shelf.lend();
        shelf.cool();
        assert!(shelf.here().is_some(), "they were just used");
        shelf.cool();
        assert_eq!((shelf.here().is_none(), shelf.memory_bytes()), (true, 0));
        shelf.admit(Some((7, read)));
        shelf.apply(Change::Remove("a".to_owned()), 9);
        assert_eq!(shelf.to_store(), Some((9, None)));
    }

    #[test]
    fn flags_are_listed_in_redis_order() {
        let mut flags = FunctionFlags::default();
        for name in ["allow-key-locking", "allow-oom", "no-writes", "no-writes"] {
            assert!(flags.add(name.as_bytes()));
        }
        assert!(!flags.add(b"nope"));
        assert_eq!(flags.names().collect::<Vec<_>>(), ["no-writes", "allow-oom", "allow-key-locking"]);
        assert!(flags.no_writes() && flags.key_locking());
    }
}
