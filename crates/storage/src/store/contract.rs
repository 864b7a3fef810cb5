//! What every store promises, as tests: `store_contract!(name, open)` for one that forgets, with `, durable` for one that
//! does not. `open` takes a directory of its own.
//!
//! The crate that expands the macro needs `tempfile`.
#![expect(clippy::unwrap_used, reason = "these are tests; an error is a failed one")]
#![expect(missing_docs, reason = "a test's name is its claim")]

use bytes::Bytes;

use super::{Batch, KEY_BYTES_MAX, Store};
use crate::{Error, Lsn};

/// Tests that a [`Store`] keeps its promises.
#[macro_export]
macro_rules! store_contract {
    ($name:ident, $open:expr) => {
        mod $name {
            $crate::store_contract!(@tests $open);
        }
    };
    ($name:ident, $open:expr, durable) => {
        mod $name {
            $crate::store_contract!(@tests $open);

            #[test]
            fn reopened_store_is_as_it_was() {
                let dir = tempfile::tempdir().expect("a temporary directory");
                for round in 0..4 {
                    $crate::contract::grows_by_a_round(&*($open)(dir.path()), round);
                }
            }
        }
    };
    (@tests $open:expr) => {
        $crate::store_contract!(@each $open, {
            fresh_store_is_empty,
            applied_batch_is_there,
            last_change_to_a_key_counts,
            cleared_range_keeps_its_end_and_what_was_put_later,
            cleared_range_takes_what_was_stored_before,
            scan_is_ordered_bounded_and_limited,
            keys_at_the_limit_are_taken_and_one_past_it_refused,
            refused_batch_changes_nothing,
            position_moves_without_changes_but_never_back,
            large_values_come_back,
            many_batches_agree_with_a_map,
            readers_see_whole_batches,
            a_snapshot_stays_as_it_was,
        });
    };
    (@each $open:expr, { $($test:ident,)+ }) => {
        $(#[test]
        fn $test() {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let store = ($open)(dir.path());
            $crate::contract::$test(&*store);
        })+
    };
}

fn apply(store: &dyn Store, upto: u64, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::default();
    fill(&mut batch);
    store.apply(&batch, Lsn(upto)).unwrap();
}

fn get(store: &dyn Store, key: &str) -> Option<String> {
    let value = store.get(key.as_bytes()).unwrap()?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn keys(store: &dyn Store, from: &str, until: &str, limit: usize) -> Vec<String> {
    let keys = store.scan_keys(from.as_bytes(), until.as_bytes(), limit).unwrap();
    let entries = store.scan(from.as_bytes(), until.as_bytes(), limit).unwrap();
    assert!(entries.iter().map(|(key, _)| key).eq(&keys), "scan and scan_keys agree");
    keys.into_iter().map(|key| String::from_utf8(key.to_vec()).unwrap()).collect()
}

pub fn fresh_store_is_empty(store: &dyn Store) {
    assert_eq!(store.applied(), Lsn(0));
    assert_eq!(get(store, "key"), None);
    assert!(store.scan(b"", &[0xff; 8], 10).unwrap().is_empty());
    store.disk_bytes().unwrap();
}

pub fn applied_batch_is_there(store: &dyn Store) {
    apply(store, 7, |batch| {
        batch.put("one", "1");
        batch.put("empty", "");
        batch.delete("never there");
    });
    assert_eq!(get(store, "one").as_deref(), Some("1"));
    assert_eq!(get(store, "empty").as_deref(), Some(""));
    assert_eq!(get(store, "on"), None);
    assert_eq!(store.applied(), Lsn(7));
}

pub fn last_change_to_a_key_counts(store: &dyn Store) {
    apply(store, 1, |batch| {
        batch.put("aa", "1");
        batch.put("aa", "2");
        batch.put("bb", "1");
        batch.delete("bb");
        batch.delete("cc");
        batch.put("cc", "1");
    });
    assert_eq!(get(store, "aa").as_deref(), Some("2"));
    assert_eq!(keys(store, "", "zz", 10), ["aa", "cc"]);
    apply(store, 2, |batch| batch.put("aa", "3"));
    apply(store, 3, |batch| batch.delete("cc"));
    assert_eq!(get(store, "aa").as_deref(), Some("3"));
    assert_eq!(keys(store, "", "zz", 10), ["aa"]);
}

pub fn cleared_range_keeps_its_end_and_what_was_put_later(store: &dyn Store) {
    apply(store, 1, |batch| {
        for key in ["k1", "k2", "k3", "k4"] {
            batch.put(key, "x");
        }
        batch.delete_range("k2", "k4");
        batch.put("k3", "later");
        batch.delete_range("k9", "k1");
    });
    assert_eq!(keys(store, "", "zz", 10), ["k1", "k3", "k4"]);
    assert_eq!(get(store, "k3").as_deref(), Some("later"));
}

pub fn cleared_range_takes_what_was_stored_before(store: &dyn Store) {
    for round in 1..=5 {
        apply(store, round, |batch| {
            for index in 0..500 {
                batch.put(format!("k{index:04}"), format!("{round}"));
            }
        });
    }
    apply(store, 6, |batch| {
        batch.delete_range("k0100", "k0200");
        batch.put("k0150", "back");
        batch.delete_range("k0300", "k0400");
        batch.delete("k0000");
    });
    assert_eq!(keys(store, "k0100", "k0201", 10), ["k0150", "k0200"]);
    assert_eq!(keys(store, "", "zz", 1000).len(), 500 - 100 + 1 - 100 - 1);
    assert_eq!(get(store, "k0300"), None);
    assert_eq!(get(store, "k0400").as_deref(), Some("5"));
}

pub fn scan_is_ordered_bounded_and_limited(store: &dyn Store) {
    apply(store, 1, |batch| {
        for key in ["b2", "a1", "c3", "b1", "b\u{0}"] {
            batch.put(key, key.to_owned());
        }
    });
    assert_eq!(keys(store, "", "zz", 10), ["a1", "b\u{0}", "b1", "b2", "c3"]);
    assert_eq!(keys(store, "b1", "c3", 10), ["b1", "b2"]);
    assert_eq!(keys(store, "b", "c", 2), ["b\u{0}", "b1"]);
    assert_eq!(keys(store, "b", "c", 0), Vec::<String>::new());
    assert_eq!(keys(store, "c", "b", 10), Vec::<String>::new());
    assert_eq!(keys(store, "b", "b", 10), Vec::<String>::new());
    let entries = store.scan(b"a", b"b", 9).unwrap();
    assert_eq!(entries, [(Bytes::from("a1"), Bytes::from("a1"))]);
}

pub fn keys_at_the_limit_are_taken_and_one_past_it_refused(store: &dyn Store) {
    let longest = vec![b'k'; KEY_BYTES_MAX];
    apply(store, 1, |batch| {
        batch.put(longest.clone(), "v");
        batch.put("k1", "v");
        batch.put(vec![0, 0], "v");
        batch.put(vec![0xff; 40_000], "v");
    });
    assert_eq!(store.get(&longest).unwrap(), Some(Bytes::from("v")));
    assert_eq!(store.get(&[0, 0]).unwrap(), Some(Bytes::from("v")));
    assert_eq!(store.scan_keys(b"", &vec![0xff; 50_000], 10).unwrap().len(), 4);
    for bytes in [0, 1, KEY_BYTES_MAX + 1] {
        let mut batch = Batch::default();
        batch.put(vec![b'k'; bytes], "v");
        assert!(matches!(store.apply(&batch, Lsn(2)), Err(Error::KeySize { .. })));
        assert_eq!(store.get(&vec![b'k'; bytes]).unwrap(), None);
    }
}

pub fn refused_batch_changes_nothing(store: &dyn Store) {
    apply(store, 1, |batch| batch.put("kept", "1"));
    let mut batch = Batch::default();
    batch.put("fine", "1");
    batch.delete_range("k", "l");
    batch.put(vec![b'k'; KEY_BYTES_MAX + 1], "v");
    assert!(store.apply(&batch, Lsn(2)).is_err());
    assert_eq!(keys(store, "", "zz", 10), ["kept"]);
    assert_eq!(store.applied(), Lsn(1));
}

pub fn position_moves_without_changes_but_never_back(store: &dyn Store) {
    apply(store, 5, |_| {});
    assert_eq!(store.applied(), Lsn(5));
    apply(store, 5, |batch| batch.put("same position", "1"));
    assert_eq!(get(store, "same position").as_deref(), Some("1"));
    let mut batch = Batch::default();
    batch.put("back", "1");
    assert!(store.apply(&batch, Lsn(4)).is_err());
    assert_eq!((store.applied(), get(store, "back")), (Lsn(5), None));
}

pub fn large_values_come_back(store: &dyn Store) {
    let large: Vec<u8> = (0..20_000_000_u32).map(|index| (index ^ (index >> 11)) as u8).collect();
    apply(store, 1, |batch| {
        batch.put("large", large.clone());
        batch.put("small", "s");
    });
    assert!(store.get(b"large").unwrap().is_some_and(|value| value == large));
    apply(store, 2, |batch| batch.put("large", "now small"));
    assert_eq!(get(store, "large").as_deref(), Some("now small"));
    assert_eq!(keys(store, "", "zz", 10), ["large", "small"]);
}

/// A store after many small batches is what a map would be.
pub fn many_batches_agree_with_a_map(store: &dyn Store) {
    let mut map = std::collections::BTreeMap::new();
    let mut dice = 12_345_u64;
    let mut roll = |limit: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % limit
    };
    for upto in 1..=40 {
        apply(store, upto, |batch| {
            for _ in 0..roll(60) {
                let key = format!("key{:03}", roll(300));
                match roll(12) {
                    0 => {
                        let until = format!("key{:03}", roll(300));
                        batch.delete_range(key.clone(), until.clone());
                        map.retain(|held: &String, _| !(key <= *held && *held < until));
                    }
                    1..4 => {
                        batch.delete(key.clone());
                        map.remove(&key);
                    }
                    _ => {
                        let value = "v".repeat(1 + roll(2000) as usize);
                        batch.put(key.clone(), value.clone());
                        map.insert(key, value);
                    }
                }
            }
        });
        let entries = store.scan(b"", b"zz", usize::MAX).unwrap();
        let expected = map.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
        assert!(entries.iter().map(|(key, value)| (&key[..], &value[..])).eq(expected), "after batch {upto}");
    }
}

pub fn readers_see_whole_batches(store: &dyn Store) {
    const KEYS: u64 = 300;
    let value = |round: u64, index: u64| {
        let bytes = if index.is_multiple_of(7) { 3000 } else { 10 };
        [&round.to_be_bytes()[..], &vec![index as u8; bytes]].concat()
    };
    let write = |round: u64| {
        apply(store, round, |batch| {
            batch.delete_range("key", "kez");
            (0..KEYS).for_each(|index| batch.put(format!("key {index:03}"), value(round, index)));
        });
    };
    let read = || {
        let entries = store.scan(b"key", b"kez", usize::MAX).unwrap();
        let round = u64::from_be_bytes(entries[0].1[..8].try_into().unwrap());
        let expected = (0..KEYS).map(|index| value(round, index));
        assert!(entries.iter().map(|(_, value)| value).eq(expected.map(Bytes::from).collect::<Vec<_>>().iter()));
        let found = store.get(b"key 007").unwrap().unwrap();
        assert!(found[..8] >= round.to_be_bytes()[..], "no reader goes back");
    };
    write(1);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    read();
                }
            });
        }
        (2..60).for_each(write);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    read();
    assert_eq!(store.applied(), Lsn(59));
}

/// Part of a store's life between two openings.
pub fn grows_by_a_round(store: &dyn Store, round: u64) {
    assert_eq!(store.applied(), Lsn(round * 10));
    for earlier in 0..round {
        let value = if earlier + 1 == round { "new" } else { "old" };
        assert_eq!(get(store, &format!("round {earlier}")).as_deref(), Some(value));
    }
    apply(store, round * 10 + 5, |batch| batch.put(format!("round {round}"), "new"));
    apply(store, round * 10 + 10, |batch| {
        if round > 0 {
            batch.put(format!("round {}", round - 1), "old");
        }
    });
}

/// Whatever is written over, cleared and merged meanwhile; values outside the tables, too.
pub fn a_snapshot_stays_as_it_was(store: &dyn Store) {
    let key = |n: u32| format!("key:{n:05}");
    let value = |n: u32, round: u64| format!("{n}:{round};").repeat(if n.is_multiple_of(10) { 500 } else { 3 });
    let all = |round: u64| (0..2_000).map(|n| (Bytes::from(key(n)), Bytes::from(value(n, round)))).collect::<Vec<_>>();
    let mut snapshots = Vec::new();
    for round in 1..40 {
        apply(store, round, |batch| {
            if round % 7 == 0 {
                batch.delete_range("key:", "key;");
            }
            for n in 0..2_000 {
                batch.put(key(n), value(n, round));
            }
        });
        if round % 10 == 1 {
            snapshots.push((round, store.snapshot()));
        }
    }
    apply(store, 40, |batch| batch.delete_range("key:", "key;"));
    assert!(store.scan(b"key:", b"key;", 1).unwrap().is_empty());
    for (round, snapshot) in snapshots {
        assert!(snapshot.scan(b"key:", b"key;", usize::MAX).unwrap() == all(round), "round {round}");
        let some = snapshot.scan(key(10).as_bytes(), b"key;", 5).unwrap();
        assert!(some == all(round)[10..15], "round {round}");
    }
}
