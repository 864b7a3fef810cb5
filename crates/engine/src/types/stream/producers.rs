//! What the producers of a stream have sent, so that an entry sent again after a lost answer is added once (Redis 8.6).
//!
//! A producer (`pid`) names each entry it sends (`iid`), or has the name made of the entry's fields. For a while the stream
//! remembers which entry that became, and a second XADD of the same name answers with its id and adds nothing. How long, and
//! how many names of a producer, is the stream's to say (XCFGSET) or the server's. When a name was given is told by the id of
//! its entry, so nothing else is kept of it; the entry itself may be gone.
//!
//! Names that are too old count as forgotten at once, and leave with the next that is remembered.

use std::collections::BTreeMap;

use dormouse_proto::{Args, Blob, CommandError, Reply};
use sha1::{Digest, Sha1};

use super::id::Id;
use super::{Change, Stream};
use crate::args::{Options, integer, is};
use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::keyspace::heap_bytes;
use crate::settings::Idmp;
use crate::txn::{Outcome, Txn};

/// What a name costs in memory beside its bytes, in all its places.
const NAME_BYTES: usize = 176;
/// What a producer costs beside its bytes.
const PRODUCER_BYTES: usize = 96;
/// For how long names may be remembered, in seconds.
pub(crate) const DURATION_S_MAX: u32 = 86_400;
/// How many names of a producer may be.
pub(crate) const NAMES_MAX: u32 = 10_000;

/// How long names are remembered, how many of each producer, and what came of them so far. A rule that is 0 is the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub(crate) duration_s: u32,
    pub(crate) names_max: u32,
    /// Entries that were added under a name.
    pub(crate) added: u64,
    /// Entries that were not, as they were there.
    pub(crate) duplicates: u64,
}

/// A name of a producer, and the entry it stands for from now on; none if it is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub(crate) pid: Blob,
    pub(crate) iid: Blob,
    pub(crate) id: Option<Id>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Producer {
    names: BTreeMap<Blob, Id>,
    order: BTreeMap<Id, Blob>,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Producers {
    pub(crate) totals: Totals,
    by_pid: BTreeMap<Blob, Producer>,
    /// Whose name each entry has, the oldest first.
    order: BTreeMap<Id, Blob>,
    bytes: usize,
}

impl Totals {
    /// With the server's rules where the stream has none.
    pub(crate) const fn ruled(self, rules: Idmp) -> Self {
        let duration_s = if self.duration_s == 0 { rules.duration_s } else { self.duration_s };
        let names_max = if self.names_max == 0 { rules.names_max } else { self.names_max };
        Self { duration_s, names_max, ..self }
    }

    /// Whether the name of an entry is too old to be remembered.
    const fn forgets(&self, id: Id, now_ms: u64) -> bool {
        id.ms.saturating_add(self.duration_s as u64 * 1_000) <= now_ms
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        for number in [self.duration_s.into(), self.names_max.into(), self.added, self.duplicates] {
            put_int(out, number);
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut small = |most: u32| {
            let number = u32::try_from(input.int()?).ok().filter(|number| *number <= most);
            number.ok_or(Corrupt("a rule for producers"))
        };
        let (duration_s, names_max) = (small(DURATION_S_MAX)?, small(NAMES_MAX)?);
        Ok(Self { duration_s, names_max, added: input.int()?, duplicates: input.int()? })
    }
}

impl Name {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.pid);
        put_bytes(out, &self.iid);
        out.push(u8::from(self.id.is_some()));
        if let Some(id) = self.id {
            id.write(out);
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let (pid, iid) = (input.blob()?, input.blob()?);
        let id = match input.byte()? {
            0 => None,
            1 => Some(Id::read(input)?),
            _ => return Err(Corrupt("an id or none")),
        };
        Ok(Self { pid, iid, id })
    }
}

impl Producers {
    pub(super) const fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_blank(&self) -> bool {
        self.order.is_empty() && self.totals == Totals::default()
    }

    /// The entry that a name stands for.
    fn find(&self, pid: &[u8], iid: &[u8]) -> Option<Id> {
        self.by_pid.get(pid)?.names.get(iid).copied()
    }

    /// Gives a name to an entry, or to none; the entry that had it.
    pub(super) fn set(&mut self, name: &Name) -> Option<Id> {
        let old = self.forget(&name.pid, &name.iid);
        if let Some(id) = name.id {
            // An entry has one name.
            if let Some(pid) = self.order.get(&id).cloned()
                && let Some(iid) = self.by_pid.get(&pid).and_then(|producer| producer.order.get(&id)).cloned()
            {
                self.forget(&pid, &iid);
            }
            let producer = self.by_pid.entry(name.pid.clone()).or_insert_with(|| {
                self.bytes += PRODUCER_BYTES + heap_bytes(&name.pid);
                Producer::default()
            });
            producer.names.insert(name.iid.clone(), id);
            producer.order.insert(id, name.iid.clone());
            self.order.insert(id, name.pid.clone());
            self.bytes += NAME_BYTES + heap_bytes(&name.iid);
        }
        old
    }

    fn forget(&mut self, pid: &[u8], iid: &[u8]) -> Option<Id> {
        let producer = self.by_pid.get_mut(pid)?;
        let id = producer.names.remove(iid)?;
        producer.order.remove(&id);
        self.order.remove(&id);
        self.bytes = self.bytes.saturating_sub(NAME_BYTES + heap_bytes(iid));
        if producer.names.is_empty() {
            self.by_pid.remove(pid);
            self.bytes = self.bytes.saturating_sub(PRODUCER_BYTES + heap_bytes(pid));
        }
        Some(id)
    }

    /// All names, by producer, the oldest first.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&Blob, impl ExactSizeIterator<Item = (&Blob, Id)>)> {
        self.by_pid.iter().map(|(pid, producer)| (pid, producer.order.iter().map(|(id, iid)| (iid, *id))))
    }

    /// How many producers there are.
    pub(crate) fn len(&self) -> usize {
        self.by_pid.len()
    }

    /// How many producers and names are remembered.
    fn remembered(&self, totals: &Totals, now_ms: u64) -> (usize, usize) {
        let gone = self.order.keys().take_while(|id| totals.forgets(**id, now_ms)).count();
        let speaks = |producer: &&Producer| {
            producer.order.last_key_value().is_some_and(|(newest, _)| !totals.forgets(*newest, now_ms))
        };
        (self.by_pid.values().filter(speaks).count(), self.order.len() - gone)
    }

    /// The names to forget when a producer gives one more: those that are too old, and its oldest if it has too many.
    fn leaving(&self, pid: &[u8], totals: &Totals, now_ms: u64) -> Vec<Name> {
        let name = |id: &Id, pid: &Blob| {
            let iid = self.by_pid.get(pid)?.order.get(id)?.clone();
            Some(Name { pid: pid.clone(), iid, id: None })
        };
        let old = self.order.iter().take_while(|(id, _)| totals.forgets(**id, now_ms));
        let mut leaving: Vec<Name> = old.filter_map(|(id, pid)| name(id, pid)).collect();
        if let Some((pid, producer)) = self.by_pid.get_key_value(pid) {
            let young = producer.order.keys().filter(|id| !totals.forgets(**id, now_ms));
            let excess = (young.clone().count() + 1).saturating_sub(totals.names_max as usize);
            leaving.extend(young.take(excess).filter_map(|id| name(id, pid)));
        }
        leaving
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.totals.write(out);
        put_int(out, self.order.len() as u64);
        for (pid, names) in self.names() {
            for (iid, id) in names {
                Name { pid: pid.clone(), iid: iid.clone(), id: Some(id) }.write(out);
            }
        }
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut producers = Self { totals: Totals::read(input)?, ..Self::default() };
        let count = input.count()?;
        for _ in 0..count {
            let name = Name::read(input)?;
            if name.id.is_none_or(|id| producers.order.contains_key(&id)) || producers.set(&name).is_some() {
                return Err(Corrupt("a name of an entry once"));
            }
        }
        Ok(producers)
    }
}

/// `IDMP pid iid | IDMPAUTO pid`
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    pid: &'a [u8],
    /// None is made of the entry's fields.
    iid: Option<&'a [u8]>,
}

/// What becomes of an entry that has a name.
pub(super) enum Sending {
    /// It is there already, under this id.
    Again(Id, Change),
    /// It is new: what is to change once it has an id.
    New(Vec<Name>, Name, Totals),
}

impl<'a> Sender<'a> {
    /// Takes an option of XADD; whether it was one of ours.
    pub(super) fn take(
        sender: &mut Option<Self>,
        word: &[u8],
        options: &mut Options<'a>,
    ) -> Result<bool, CommandError> {
        let (named, made) = (is(word, "IDMP"), is(word, "IDMPAUTO"));
        if !(named || made) || options.rest().len() < 1 + usize::from(named) {
            return Ok(false);
        }
        if sender.is_some() {
            return Err(CommandError::text("ERR IDMP/IDMPAUTO specified multiple times"));
        }
        let pid = options.value()?;
        if pid.is_empty() {
            let name = if named { "IDMP" } else { "IDMPAUTO" };
            return Err(CommandError::from(format!("ERR {name} requires a non-empty producer ID")));
        }
        let iid = if named { Some(options.value()?) } else { None };
        if iid.is_some_and(<[u8]>::is_empty) {
            return Err(CommandError::text("ERR IDMP requires a non-empty idempotent ID"));
        }
        *sender = Some(Self { pid, iid });
        Ok(true)
    }

    /// What is to become of an entry with these fields.
    pub(super) fn sends(&self, stream: Option<&Stream>, fields: Args<'_>, rules: Idmp, now_ms: u64) -> Sending {
        let nothing = Producers::default();
        let producers = stream.and_then(Stream::producers).unwrap_or(&nothing);
        let (totals, rules) = (producers.totals, producers.totals.ruled(rules));
        let iid = self.iid.map_or_else(|| made_of(fields), Blob::from);
        let known = producers.find(self.pid, &iid).filter(|id| !rules.forgets(*id, now_ms));
        if let Some(id) = known {
            let duplicates = totals.duplicates.saturating_add(1);
            return Sending::Again(id, Change::Totals(Totals { duplicates, ..totals }));
        }
        let leaving = producers.leaving(self.pid, &rules, now_ms);
        let name = Name { pid: Blob::from(self.pid), iid, id: None };
        Sending::New(leaving, name, Totals { added: totals.added.saturating_add(1), ..totals })
    }
}

impl Sending {
    /// The changes that remember an entry by its id.
    pub(super) fn remember(self, id: Id) -> Vec<Change> {
        match self {
            Self::Again(..) => Vec::new(),
            Self::New(mut names, name, totals) => {
                names.push(Name { id: Some(id), ..name });
                vec![Change::Names(names), Change::Totals(totals)]
            }
        }
    }
}

/// A name for an entry, the same for the same fields with the same values in any order.
fn made_of(fields: Args<'_>) -> Blob {
    let mut pairs: Vec<&[&[u8]]> = fields.chunks_exact(2).collect();
    pairs.sort_unstable();
    let mut digest = Sha1::new();
    for word in pairs.into_iter().flatten() {
        digest.update((word.len() as u64).to_be_bytes());
        digest.update(word);
    }
    Blob::from(digest.finalize().as_slice())
}

/// What XINFO tells of producers.
pub(super) fn fields(stream: &Stream, rules: Idmp, now_ms: u64) -> [(&'static str, Reply); 6] {
    let nothing = Producers::default();
    let producers = stream.producers().unwrap_or(&nothing);
    let totals = producers.totals.ruled(rules);
    let (pids, iids) = producers.remembered(&totals, now_ms);
    [
        ("idmp-duration", Reply::Integer(totals.duration_s.into())),
        ("idmp-maxsize", Reply::Integer(totals.names_max.into())),
        ("pids-tracked", Reply::count(pids)),
        ("iids-tracked", Reply::count(iids)),
        ("iids-added", Reply::Integer(totals.added as i64)),
        ("iids-duplicates", Reply::Integer(totals.duplicates as i64)),
    ]
}

fn rule(text: &[u8], most: u32, error: &'static str) -> Result<u32, CommandError> {
    let number = u32::try_from(integer(text)?).ok().filter(|number| (1..=most).contains(number));
    number.ok_or(CommandError::text(error))
}

/// `key pid iid id`: remembers an entry that is there by a name, as if it had been sent with that.
pub(super) fn xidmprecord(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (pid, iid) = (args[2], args[3]);
    if pid.is_empty() {
        return Err(CommandError::text("ERR IDMP requires a non-empty producer ID").into());
    }
    if iid.is_empty() {
        return Err(CommandError::text("ERR IDMP requires a non-empty idempotent ID").into());
    }
    let id = Id::parse(args[4], 0)?;
    let (rules, now_ms) = (txn.hub().settings.idmp, txn.now_ms());
    let stream = txn.get::<Stream>(args[1])?.ok_or(CommandError::NoSuchKey)?;
    if stream.entry(id).is_none() {
        return Err(CommandError::text("ERR The specified stream ID was deleted or doesn't exist").into());
    }
    let known = stream.producers().and_then(|producers| producers.find(pid, iid));
    if known.is_some_and(|known| known != id) {
        let text = "ERR The specified IDMP producer-id/idempotent-id pair maps to a different stream ID";
        return Err(CommandError::text(text).into());
    }
    if known.is_none() {
        let sender = Sender { pid, iid: Some(iid) };
        let changes = sender.sends(Some(stream), &[], rules, now_ms).remember(id);
        super::apply(txn, args[1], changes)?;
    }
    Ok(Reply::OK)
}

/// `key [IDMP-DURATION seconds] [IDMP-MAXSIZE count]`: a rule that changes forgets all names.
pub(super) fn xcfgset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut options = Options::new(&args[2..]);
    let (mut duration_s, mut names_max) = (None, None);
    while let Some(word) = options.next() {
        match () {
            () if is(word, "IDMP-DURATION") => {
                let error = "ERR IDMP-DURATION must be between 1 and 86400 seconds";
                duration_s = Some(rule(options.value()?, DURATION_S_MAX, error)?);
            }
            () if is(word, "IDMP-MAXSIZE") => {
                let error = "ERR IDMP-MAXSIZE must be between 1 and 10000 entries";
                names_max = Some(rule(options.value()?, NAMES_MAX, error)?);
            }
            () => return Err(CommandError::Syntax.into()),
        }
    }
    if duration_s.is_none() && names_max.is_none() {
        return Err(CommandError::text("ERR At least one parameter must be specified").into());
    }
    let rules = txn.hub().settings.idmp;
    let stream = txn.get::<Stream>(args[1])?.ok_or(CommandError::NoSuchKey)?;
    let totals = stream.producers().map(|producers| producers.totals).unwrap_or_default();
    let before = totals.ruled(rules);
    let after = Totals {
        duration_s: duration_s.unwrap_or(totals.duration_s),
        names_max: names_max.unwrap_or(totals.names_max),
        ..totals
    };
    let mut changes = Vec::new();
    if after != totals {
        changes.push(Change::Totals(after));
    }
    if after.ruled(rules) != before {
        let all = stream.producers().into_iter().flat_map(Producers::names);
        let forgotten = all.flat_map(|(pid, names)| {
            names.map(|(iid, _)| Name { pid: pid.clone(), iid: iid.clone(), id: None }).collect::<Vec<_>>()
        });
        changes.push(Change::Names(forgotten.collect()));
    }
    super::apply(txn, args[1], changes)?;
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn name(pid: &str, iid: &str, ms: Option<u64>) -> Name {
        Name { pid: Blob::from(pid.as_bytes()), iid: Blob::from(iid.as_bytes()), id: ms.map(|ms| Id { ms, seq: 0 }) }
    }

    #[test]
    fn names_stand_for_one_entry_each() {
        let mut producers = Producers::default();
        assert_eq!(producers.set(&name("p", "a", Some(1))), None);
        producers.set(&name("p", "b", Some(2)));
        producers.set(&name("q", "a", Some(3)));
        assert_eq!((producers.find(b"p", b"a"), producers.find(b"q", b"b")), (Some(Id { ms: 1, seq: 0 }), None));
        let rules = Totals { duration_s: 1, names_max: 2, ..Totals::default() };
        assert_eq!(producers.remembered(&rules, 1_001), (2, 2), "the first is too old");
        assert_eq!(producers.leaving(b"p", &rules, 0), [name("p", "a", None)]);
        assert_eq!(producers.leaving(b"r", &rules, 1_002), [name("p", "a", None), name("p", "b", None)]);
        let mut bytes = Vec::new();
        producers.write(&mut bytes);
        assert_eq!(Producers::read(&mut Reader::new(&bytes)).as_ref(), Ok(&producers));
        for cut in 0..bytes.len() {
            assert!(Producers::read(&mut Reader::new(&bytes[..cut])).is_err());
        }
        assert_eq!(producers.set(&name("p", "a", Some(9))), Some(Id { ms: 1, seq: 0 }));
        for iid in ["a", "b"] {
            producers.set(&name("p", iid, None));
            producers.set(&name("q", iid, None));
        }
        assert!(producers.is_blank() && producers.memory_bytes() == 0);
    }

    #[test]
    fn what_is_sent_again_is_added_once() {
        let mut bench = Bench::new();
        let first = bench.run("XADD s IDMP p 1 * f v");
        assert_eq!(bench.run("XADD s IDMP p 1 * f other"), first);
        assert_ne!(bench.run("XADD s IDMP q 1 * f v"), first);
        let made = bench.run("XADD s MAXLEN ~ 9 IDMPAUTO p * a 1 b 2");
        assert_eq!(bench.run("XADD s IDMPAUTO p KEEPREF * b 2 a 1"), made);
        assert_eq!(bench.run("XLEN s"), Reply::Integer(3));
        assert_eq!(bench.run("XADD none NOMKSTREAM IDMP p 1 * f v"), Reply::Null);
        let info = |bench: &mut Bench| {
            let Reply::Map(fields) = bench.run("XINFO STREAM s") else { panic!("no map") };
            fields.into_iter().skip(7).take(6).map(|(_, value)| value).collect::<Vec<_>>()
        };
        let numbers = |numbers: [i64; 6]| numbers.map(Reply::Integer);
        assert_eq!(info(&mut bench), numbers([100, 100, 2, 3, 3, 2]));
        bench.now_us += 100_000_000;
        assert_eq!(info(&mut bench), numbers([100, 100, 0, 0, 3, 2]), "forgotten after a while");
        assert_ne!(bench.run("XADD s IDMP p 1 * f v"), first);
        assert_eq!(bench.run("XCFGSET s IDMP-MAXSIZE 2"), Reply::OK);
        for iid in 1..=4 {
            bench.run(&format!("XADD s IDMP p {iid} * f v"));
        }
        assert_eq!(info(&mut bench), numbers([100, 2, 1, 2, 8, 2]));
        bench.run("CONFIG SET stream-idmp-duration 7");
        assert_eq!(info(&mut bench)[0], Reply::Integer(7));
    }

    #[test]
    fn rules_that_stay_keep_what_is_remembered() {
        let mut bench = Bench::new();
        let first = bench.run("XADD s IDMP p 1 * f v");
        assert_eq!(bench.run("XCFGSET s IDMP-DURATION 100 IDMP-MAXSIZE 100"), Reply::OK);
        assert_eq!(bench.run("XADD s IDMP p 1 * f v"), first);
        assert_eq!(bench.run("XCFGSET s IDMP-DURATION 50"), Reply::OK);
        assert_ne!(bench.run("XADD s IDMP p 1 * f v"), first);
        for (line, error) in [
            ("XCFGSET s", "ERR At least one parameter must be specified"),
            ("XCFGSET none IDMP-MAXSIZE 1", "ERR no such key"),
            ("XCFGSET s IDMP-DURATION", "ERR syntax error"),
            ("XCFGSET s IDMP-DURATION 000", "ERR value is not an integer or out of range"),
            ("XCFGSET s IDMP-DURATION 86401", "ERR IDMP-DURATION must be between 1 and 86400 seconds"),
            ("XCFGSET s IDMP-MAXSIZE 0", "ERR IDMP-MAXSIZE must be between 1 and 10000 entries"),
            ("XADD s IDMP p * f v", "ERR Invalid stream ID specified as stream command argument"),
            ("XADD s IDMP p i 1-1 f v", "ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"),
            ("XADD s IDMP p i IDMPAUTO q * f v", "ERR IDMP/IDMPAUTO specified multiple times"),
        ] {
            assert_eq!(bench.error(line), error, "{line}");
        }
    }
}
