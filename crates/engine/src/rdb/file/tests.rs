//! Files of values that Redis made, as we write and read them; damage at every byte; what is no key.

use super::super::tests::fixtures;
use super::*;
use crate::rdb::seal;

const LIMITS: FileLimits = FileLimits { key_bytes_max: 1 << 10, value_bytes_max: 1 << 20, library_bytes_max: 1 << 10 };

/// One letter a read: parts end anywhere.
struct Slowly<'a>(&'a [u8]);

impl std::io::Read for Slowly<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.len().min(1).min(into.len());
        into[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn file_of(version: FileVersion, keys: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut file = FileWriter::new(Vec::new(), version, &[("redis-bits", "64")]).unwrap();
    file.library(b"#!lua name=l\n").unwrap();
    file.index(3).unwrap();
    for (key, expires_at, body) in keys {
        file.key(key.as_bytes(), *expires_at, body).unwrap();
    }
    file.finish().unwrap().1
}

/// A file with parts of our own between head and end, of a version that has no checksum.
fn file_with(parts: &[u8]) -> Vec<u8> {
    [b"REDIS0004", parts, &[opcode::END]].concat()
}

fn items(source: impl std::io::Read) -> Result<Vec<Item>, FileError> {
    let mut reader = FileReader::new(source, LIMITS)?;
    let mut items = Vec::new();
    loop {
        match reader.next_item()? {
            Item::End => return Ok(items),
            Item::Key { key, expires_at, value } => {
                value.decode(LIMITS.value_bytes_max)?;
                items.push(Item::Key { key, expires_at, value });
            }
            item => items.push(item),
        }
    }
}

#[test]
fn every_encoding_comes_back_from_a_file() {
    let fixtures: Vec<_> = fixtures().collect();
    let keys: Vec<(&str, u64, &[u8])> = fixtures.iter().map(|fixture| (fixture.name, 7, fixture.body())).collect();
    let file = file_of(FileVersion::Redis(10), &keys);
    for read in [items(&file[..]).unwrap(), items(Slowly(&file)).unwrap()] {
        assert!(matches!(&read[0], Item::Library(text) if text == b"#!lua name=l\n"));
        assert!(matches!(read[1], Item::Index(3)));
        assert_eq!(read.len(), 2 + fixtures.len());
        for (item, fixture) in read[2..].iter().zip(&fixtures) {
            let Item::Key { key, expires_at: 7, value } = item else { panic!("{item:?}") };
            assert_eq!(key, fixture.name.as_bytes());
            let Found::Value(value) = value.decode(1 << 20).unwrap() else { panic!("{}", fixture.name) };
            let restored = crate::rdb::restore(&seal(fixture.body().to_vec()), 1 << 20).unwrap();
            assert_eq!(value.canonical(), restored.canonical(), "{}", fixture.name);
        }
    }
}

#[test]
fn damage_anywhere_is_found() {
    let fixtures: Vec<_> = fixtures().collect();
    let keys: Vec<(&str, u64, &[u8])> = fixtures.iter().map(|fixture| (fixture.name, 7, fixture.body())).collect();
    let file = file_of(FileVersion::Redis(12), &keys);
    for at in (0..file.len()).filter(|at| at % 7 == 0 || *at < 200) {
        assert!(items(&file[..at]).is_err(), "cut at {at}");
        for bit in [1, 128] {
            let mut damaged = file.clone();
            damaged[at] ^= bit;
            let found = items(&damaged[..]);
            assert!(found.is_err(), "byte {at} bit {bit}");
        }
    }
    let more = [&file[..], b"*1\r\n"].concat();
    let error = items(&more[..]).unwrap_err().to_string();
    assert_eq!(error, format!("something follows its end, as in an append-only file, at byte {}", file.len()));
}

#[test]
fn errors_name_the_byte() {
    let cases: [(&[u8], &str); 11] = [
        (b"", "it is too short to be an RDB file, at byte 0"),
        (b"*1\r\n$4\r\nPING\r\n", "it does not begin like an RDB file, at byte 0"),
        (b"REDIS0099\xff", "its format (Redis(99)) is not known, at byte 0"),
        (b"REDIS0004\x00\x01k\x05ab", "it ends too early, at byte 15"),
        (b"REDIS0004\x00\x01k\x82ab", "a length of no known form, at byte 13"),
        (b"REDIS0004\x63\x01k\x01v", "the value of the key \"k\" has the encoding 99, which is not known, at byte 9"),
        (b"REDIS0004\x16\x01k\x01", "the value of the key \"k\" has the encoding 22, which is not known, at byte 9"),
        (b"REDIS0004\xf3\x01k\x01", "a part of kind 243, which is not known, at byte 9"),
        (b"REDIS0004\xf6\x01k\x01", "functions of a release candidate of Redis 7.0, at byte 9"),
        (b"REDIS0004\x0b\x01k\x01v\xff", "a value of encoding 11 does not read, at byte 12"),
        (b"REDIS0005\x00\x01k\x01v\xff\x01\x02\x03\x04\x05\x06\x07\x08", "its checksum is wrong, at byte 15"),
    ];
    for (file, text) in cases {
        assert_eq!(items(file).unwrap_err().to_string(), text, "{}", file.escape_ascii());
    }
}

#[test]
fn parts_that_are_no_keys_are_passed_over() {
    // Used when and how often, sizes, a slot, a note, what a module keeps, a deadline in seconds.
    let parts = b"\xf8\x05\xf9\x07\xfb\x01\x00\xf4\x01\x02\x03\xfa\x01a\xc0\x07\xfd\x02\x00\x00\x00\x00\x01k\x01v";
    let file = file_with(parts);
    let read = items(&file[..]).unwrap();
    assert!(matches!(&read[..], [Item::Key { expires_at: 2_000, .. }]), "{read:?}");
    let id = crate::rdb::module::JSON.to_be_bytes();
    let aux = [b"\xf7\x81", &id[..], b"\x02\x02\x05\x01x\x03aaaa\x04bbbbbbbb\x01\x05\x00"].concat();
    let read = items(&file_with(&aux)[..]).unwrap();
    assert!(matches!(&read[..], [Item::ModuleAux(name)] if name == "ReJSON-RL"), "{read:?}");
    let bloom = [b"\x07\x01k\x81", &u64::from(id[0]).to_be_bytes()[..], b"\x05\x01x\x00"].concat();
    let read = items(&file_with(&bloom)[..]).unwrap();
    let [Item::Key { value, .. }] = &read[..] else { panic!("{read:?}") };
    assert!(matches!(value.decode(100), Ok(Found::Module(name)) if name == "AAAAAAAAA (version 69)"));
}

#[test]
fn hashes_of_valkey_keep_the_deadlines_of_their_fields() {
    let body = b"\x16\x02\x02f1\x02v1\x3b\x33\xc7\x0f\xa2\x01\x00\x00\x02f2\x02v2\xff\xff\xff\xff\xff\xff\xff\xff";
    let file = file_of(FileVersion::Valkey(80), &[("h", 0, body)]);
    let read = items(&file[..]).unwrap();
    let Item::Key { value, .. } = &read[2] else { panic!() };
    let Ok(Found::Value(value)) = value.decode(1_000) else { panic!() };
    assert_eq!(value.next_due(), Some(1_795_561_042_747));
}

#[test]
fn nothing_takes_more_than_it_may() {
    let over = |file: &[u8]| items(file).unwrap_err().to_string();
    let key = [b"\x00\x44\x01", &[b'k'; 1_025][..], b"\x01v"].concat();
    assert_eq!(over(&file_with(&key)), "a string of more than 1024 bytes, at byte 10");
    // A length is not believed: only what comes is kept.
    assert_eq!(over(b"REDIS0004\x00\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xffabc"), "it ends too early, at byte 24");
    let value = [b"\x00\x01k\x80\x00\x20\x00\x00", &vec![b'v'; 2 << 20][..]].concat();
    assert!(over(&file_with(&value)).starts_with("something takes more than 1048576 bytes"));
    assert_eq!(items(&file_with(b"\x01\x01k\x00")[..]).unwrap().len(), 1);
}

#[test]
fn files_that_nobody_wrote_are_refused_or_read() {
    let mut random = crate::moment::Random::new(77);
    let fixtures: Vec<_> = fixtures().collect();
    for _ in 0..3_000 {
        // Without a checksum, so that damage gets as far as it can.
        let mut parts = Vec::new();
        for _ in 0..=random.below(3) {
            let body = fixtures[random.below(fixtures.len() as u64) as usize].body();
            parts.extend([&body[..1], b"\x01k", &body[1..]].concat());
        }
        for _ in 0..=random.below(4) {
            let at = random.below(parts.len() as u64) as usize;
            match random.below(3) {
                0 => parts[at] = random.below(256) as u8,
                1 => drop(parts.remove(at)),
                _ => parts.insert(at, random.below(256) as u8),
            }
        }
        // Whatever it is: no panic, and no more memory than allowed.
        drop(items(&file_with(&parts)[..]));
    }
}
