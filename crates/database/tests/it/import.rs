//! RDB files into databases that are there: all of a file or nothing, whenever the process dies.

use dormouse_database::{ImportError, ImportOptions, Imported, Step};
use dormouse_engine::rdb::{FileVersion, FileWriter};
use dormouse_proto::Reply;

use crate::support::{Bed, error, texts};

/// A string, a list and a hash with deadlines, and a library, under keys of a prefix.
fn file(prefix: &str, index: u32, library: bool) -> Vec<u8> {
    let mut file = FileWriter::new(Vec::new(), FileVersion::Redis(12), &[]).unwrap();
    if library {
        file.library(b"#!lua name=lib\nredis.register_function('answer', function() return 42 end)").unwrap();
    }
    file.index(index).unwrap();
    file.key(format!("{prefix}:string").as_bytes(), 0, b"\x00\x05value").unwrap();
    file.key(format!("{prefix}:mortal").as_bytes(), 1_700_000_060_000, b"\x00\x01v").unwrap();
    file.key(format!("{prefix}:dead").as_bytes(), 1_600_000_000_000, b"\x00\x01v").unwrap();
    file.key(format!("{prefix}:list").as_bytes(), 0, b"\x01\x03\x01a\x01b\xc0\x07").unwrap();
    file.key(format!("{prefix}:none").as_bytes(), 0, b"\x01\x00").unwrap();
    let first = 1_700_000_030_000_u64.to_le_bytes();
    let hash = [b"\x18", &first[..], b"\x02\x01\x01f\x01v\x00\x01g\x01w"].concat();
    file.key(format!("{prefix}:hash").as_bytes(), 0, &hash).unwrap();
    file.finish().unwrap().1
}

const REPLACE: ImportOptions = ImportOptions { index: None, replace: true, skip_modules: false };

impl Bed {
    fn import(&self, options: ImportOptions, mut bytes: &[u8]) -> Result<Imported, ImportError> {
        self.service().import("default", options, &|| self.moment(), &mut bytes)
    }

    fn import_error(&self, options: ImportOptions, bytes: &[u8]) -> String {
        self.import(options, bytes).unwrap_err().to_string()
    }

    fn holds(&mut self, prefix: &str) {
        assert_eq!(self.run("DBSIZE"), Reply::Integer(4));
        assert_eq!(self.run(&format!("GET {prefix}:string")), Reply::bulk("value"));
        assert_eq!(self.run(&format!("PTTL {prefix}:mortal")), Reply::Integer(60_000));
        assert_eq!(texts(&self.run(&format!("LRANGE {prefix}:list 0 -1"))), ["a", "b", "7"]);
        assert_eq!(texts(&self.run(&format!("HPTTL {prefix}:hash FIELDS 2 f g"))), ["30000", "-1"]);
    }
}

#[test]
fn a_file_becomes_the_keys_of_a_database() {
    let mut bed = Bed::new();
    let bytes = file("a", 0, true);
    let imported = bed.import(ImportOptions::default(), &bytes).unwrap();
    let expected =
        Imported { keys: 4, expired: 1, empty: 1, libraries: 1, bytes: bytes.len() as u64, ..Imported::default() };
    assert_eq!(imported, expected);
    bed.holds("a");
    assert_eq!(bed.run("FCALL answer 0"), Reply::Integer(42));
    assert!(bed.import_error(ImportOptions::default(), &bytes).contains("the database has keys"));
    // Again, in place of what is there; it goes on like any other, through a crash, a stop, and sleep.
    bed.run("SET mine 1");
    bed.import(REPLACE, &file("b", 0, false)).unwrap();
    bed.holds("b");
    assert!(error(&bed.run("FCALL answer 0")).contains("Function not found"));
    bed.crash();
    bed.holds("b");
    bed.run("SET b:string other");
    bed.run("RPUSH b:list z");
    bed.crash();
    assert_eq!(texts(&bed.run("LRANGE b:list 0 -1")), ["a", "b", "7", "z"]);
    bed.restart();
    assert_eq!(bed.run("GET b:string"), Reply::bulk("other"));
    bed.chill();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(4));
    bed.pass_ms(61_000);
    bed.reap();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(3));
    assert_eq!(texts(&bed.run("HGETALL b:hash")), ["g", "w"]);
    bed.run("FLUSHALL");
    bed.import(ImportOptions::default(), &file("c", 0, false)).unwrap();
    bed.crash();
    assert_eq!(bed.run("EXISTS c:string b:string a:string"), Reply::Integer(1));
}

#[test]
fn what_is_not_whole_changes_nothing() {
    let mut bed = Bed::new();
    bed.run("SET mine 1");
    let bytes = file("a", 0, true);
    for at in (0..bytes.len()).step_by(9) {
        assert!(matches!(bed.import(REPLACE, &bytes[..at]), Err(ImportError::File(_))), "cut off at {at}");
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert!(bed.import(REPLACE, &damaged).is_err(), "damaged at {at}");
    }
    assert_eq!(texts(&bed.run("KEYS *")), ["mine"]);
    bed.crash();
    assert_eq!(texts(&bed.run("KEYS *")), ["mine"]);
    bed.import(REPLACE, &bytes).unwrap();
    bed.holds("a");
}

#[test]
fn files_with_several_numbers_want_a_choice() {
    let mut bed = Bed::new();
    let (first, second) = (file("a", 0, false), file("b", 5, false));
    // One file of both: head and keys of the first, keys and end of the second without its checksum.
    let mut both = first[..first.len() - 9].to_vec();
    both.extend_from_slice(&second[9..second.len() - 8]);
    both.extend_from_slice(&[0; 8]);
    let refusal = bed.import_error(ImportOptions::default(), &both);
    assert!(refusal.contains("databases 0 and 5") && refusal.contains("--index"), "{refusal}");
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(0));
    bed.import(ImportOptions { index: Some(5), ..REPLACE }, &both).unwrap();
    bed.holds("b");
    bed.import(ImportOptions { index: Some(0), ..REPLACE }, &both).unwrap();
    bed.holds("a");
    let none = bed.import(ImportOptions { index: Some(3), ..REPLACE }, &both).unwrap();
    assert_eq!(none.keys, 0);
    // Without a choice the only one with keys is meant, whatever its number.
    bed.import(ImportOptions::default(), &second).unwrap();
    bed.holds("b");
}

#[test]
fn what_does_not_fit_is_refused_as_a_whole() {
    let mut bed = Bed::new();
    let mut twice = FileWriter::new(Vec::new(), FileVersion::Redis(10), &[]).unwrap();
    twice.key(b"k", 0, b"\x00\x01v").unwrap();
    twice.key(b"k", 0, b"\x00\x01w").unwrap();
    let twice = twice.finish().unwrap().1;
    assert!(bed.import_error(REPLACE, &twice).contains("a key comes more than once"));
    let mut broken = FileWriter::new(Vec::new(), FileVersion::Redis(10), &[]).unwrap();
    broken.library(b"#!lua name=lib\nthis is not Lua").unwrap();
    broken.key(b"k", 0, b"\x00\x01v").unwrap();
    let broken = broken.finish().unwrap().1;
    assert!(bed.import_error(REPLACE, &broken).contains("libraries of functions cannot be loaded"));
    let mut module = FileWriter::new(Vec::new(), FileVersion::Redis(10), &[]).unwrap();
    module.key(b"filter", 0, b"\x07\x81\x04\x18\x61\x86\x18\x61\x84\x01\x05\x01x\x00").unwrap();
    module.key(b"k", 0, b"\x00\x01v").unwrap();
    let module = module.finish().unwrap().1;
    let refusal = bed.import_error(REPLACE, &module);
    assert!(refusal.contains("the key \"filter\" is a value of the module") && refusal.contains("--skip-modules"));
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(0));
    let imported = bed.import(ImportOptions { skip_modules: true, ..REPLACE }, &module).unwrap();
    assert_eq!((imported.keys, imported.skipped, imported.modules.len()), (1, 1, 1));
    assert_eq!(bed.run("GET k"), Reply::bulk("v"));
}

/// A source that does something of ours before its last bytes.
struct Interrupted<'a, F: FnMut()> {
    bytes: &'a [u8],
    left: usize,
    act: F,
}

impl<F: FnMut()> std::io::Read for Interrupted<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.bytes.len() == self.left {
            (self.act)();
        }
        let count = into.len().min(self.bytes.len() - if self.bytes.len() > self.left { self.left } else { 0 });
        into[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

#[test]
fn others_go_on_until_it_is_there() {
    let bed = Bed::new();
    let bytes = file("a", 0, false);
    let mut talk = bed.talk();
    let mut source = Interrupted {
        bytes: &bytes,
        left: 9,
        act: || {
            for _ in 0..3 {
                assert_eq!(talk.run(&bed, "SET mine 1"), Reply::OK);
                assert_eq!(talk.run(&bed, "DBSIZE"), Reply::Integer(1), "nothing of the file is to be seen");
                bed.checkpoint();
                assert_eq!(talk.run(&bed, "FLUSHALL"), Reply::OK);
                bed.checkpoint();
            }
            assert_eq!(talk.run(&bed, "WATCH a:string mine"), Reply::OK);
        },
    };
    bed.service().import("default", ImportOptions::default(), &|| bed.moment(), &mut source).unwrap();
    assert_eq!(talk.run(&bed, "DBSIZE"), Reply::Integer(4));
    assert_eq!(talk.run(&bed, "MULTI"), Reply::OK);
    talk.run(&bed, "PING");
    assert_eq!(talk.run(&bed, "EXEC"), Reply::NullArray, "what was watched has come");
    // Who waits for a key is served by one that comes.
    talk.run(&bed, "FLUSHALL");
    let mut waiting = bed.talk();
    assert!(matches!(waiting.step(&bed, "BLPOP a:list 0"), Step::Parked { .. }));
    bed.service().import("default", ImportOptions::default(), &|| bed.moment(), &mut &bytes[..]).unwrap();
    let served: Vec<String> = waiting.kept.take().iter().flat_map(texts).collect();
    assert_eq!(served, ["a:list", "a"]);
    // Keys that came meanwhile are not thrown away.
    talk.run(&bed, "FLUSHALL");
    let mut source = Interrupted { bytes: &bytes, left: 9, act: || drop(talk.run(&bed, "SET mine 1")) };
    let refusal = bed.service().import("default", ImportOptions::default(), &|| bed.moment(), &mut source);
    assert!(refusal.unwrap_err().to_string().contains("come to have keys meanwhile"));
    assert_eq!(talk.run(&bed, "DBSIZE"), Reply::Integer(1));
}

#[test]
fn a_database_that_is_deleted_meanwhile_stays_deleted() {
    let mut bed = Bed::new();
    let bytes = file("a", 0, false);
    bed.service().create("shop", bed.moment()).unwrap();
    let mut source = Interrupted { bytes: &bytes, left: 9, act: || bed.service().delete("shop").unwrap() };
    let refusal = bed.service().import("shop", ImportOptions::default(), &|| bed.moment(), &mut source);
    assert!(refusal.unwrap_err().to_string().contains("there is no database 'shop'"));
    bed.checkpoint();
    bed.restart();
    assert_eq!(bed.service().names().unwrap().len(), 1);
    assert!(bed.service().import("nope", ImportOptions::default(), &|| bed.moment(), &mut &bytes[..]).is_err());
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(0));
}
