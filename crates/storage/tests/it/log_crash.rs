//! Stops at each write and sync in turn, then looks at what is left.
//!
//! The judge is what the log itself said while it ran: a record that asked for the disk and was acknowledged is there after
//! a loss of power; one that did not ask is there after the death of the process; and nothing is there that was never
//! appended, or out of order.

use dormouse_storage::{Durability, Fault, FaultyDisk, Log, Lsn};

use crate::support::{Dice, dir, open, options, record};

/// What a run was promised.
#[derive(Default)]
struct Promised {
    /// Appended, in order; the index is the LSN less one.
    appended: Vec<Vec<u8>>,
    /// Acknowledged, whatever it asked for: survives the process.
    acknowledged: u64,
    /// The newest acknowledged that asked for the disk: survives the machine.
    on_disk: u64,
}

/// Writes across several segments, trims, reopens; stops at the first error.
fn run(disk: &FaultyDisk, seed: u64) -> Promised {
    let mut promised = Promised::default();
    let mut dice = Dice(seed);
    for _ in 0..2 {
        let Ok((log, _)) = open(disk, Lsn(0)) else {
            return promised;
        };
        for _ in 0..12 {
            if write_some(&log, &mut promised, &mut dice).is_err() {
                return promised;
            }
        }
        if log.close().is_err() {
            return promised;
        }
        promised.on_disk = promised.acknowledged;
    }
    promised
}

fn write_some(log: &Log, promised: &mut Promised, dice: &mut Dice) -> Result<(), dormouse_storage::Error> {
    let strict = dice.below(2) == 0;
    let durability = if strict { Durability::Always } else { Durability::None };
    let payload = record(promised.appended.len() as u64, dice.below(2500) as usize);
    let lsn = log.append(durability, &payload)?;
    promised.appended.push(payload);
    log.wait_durable(lsn)?;
    promised.acknowledged = lsn.0;
    if strict {
        promised.on_disk = lsn.0;
    }
    Ok(())
}

fn check(disk: &FaultyDisk, promised: &Promised, survives: u64, story: &str) {
    let (log, records) = open(disk, Lsn(0)).unwrap_or_else(|error| panic!("{story}: {error}"));
    assert!(records.len() as u64 >= survives, "{story}: {} records left of {survives} promised", records.len());
    for (index, (lsn, payload)) in records.iter().enumerate() {
        assert_eq!(lsn.0, index as u64 + 1, "{story}");
        assert_eq!(*payload, promised.appended[index], "{story}");
    }
    // Life goes on behind what was left, and is there the next time, whatever was dropped before.
    let fresh = log.append(Durability::Always, b"afterwards").unwrap();
    assert_eq!(fresh.0, records.len() as u64 + 1, "{story}");
    log.wait_durable(fresh).unwrap();
    drop(log);
    let (_, again) = open(&disk.power_cut(7), Lsn(0)).unwrap_or_else(|error| panic!("{story}, again: {error}"));
    assert_eq!(again.len(), records.len() + 1, "{story}");
    assert_eq!(again[records.len()].1, b"afterwards", "{story}");
}

#[test]
fn whatever_was_promised_survives_a_stop_at_any_write_or_sync() {
    for seed in 0..3 {
        let whole = FaultyDisk::default();
        run(&whole, seed);
        for operation in 1..=whole.operations() {
            for fault in [Fault::Refused, Fault::Torn] {
                let disk = FaultyDisk::default();
                disk.fail_at(operation, fault);
                let promised = run(&disk, seed);
                let story = format!("seed {seed}, {fault:?} at operation {operation}");
                check(&disk.process_killed(), &promised, promised.acknowledged, &format!("{story}, killed"));
                for cut in 0..4 {
                    check(&disk.power_cut(cut), &promised, promised.on_disk, &format!("{story}, power cut {cut}"));
                }
            }
        }
    }
}

#[test]
fn crashes_in_a_row_lose_nothing_that_was_on_disk() {
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let mut disk = FaultyDisk::default();
        let mut promised = Promised::default();
        for round in 0..6 {
            let story = format!("seed {seed}, round {round}");
            let (log, records) = open(&disk, Lsn(0)).unwrap_or_else(|error| panic!("{story}: {error}"));
            assert!(records.len() as u64 >= promised.on_disk, "{story}");
            promised.appended.truncate(records.len());
            for ((_, found), expected) in records.iter().zip(&promised.appended) {
                assert_eq!(found, expected, "{story}");
            }
            // Whatever was shown to the one who opened the log is there to stay.
            promised.on_disk = records.len() as u64;
            for _ in 0..dice.below(10) {
                write_some(&log, &mut promised, &mut dice).unwrap();
            }
            // The power goes while the log is open: no closing mark, no last sync.
            disk = disk.power_cut(dice.below(u64::MAX));
        }
    }
}

/// A record that was dropped because its first sector was missing had the rest of its bytes on disk still. The next one began
/// with the same bytes, salt, length, count and position: torn just there, it would have made the dropped one whole.
#[test]
fn what_was_dropped_never_comes_back() {
    let (mut dropped, mut came) = (0, 0);
    // Where a header lies across two sectors.
    for bytes in 420..464 {
        for seed in 0..16 {
            let disk = FaultyDisk::default();
            let (log, _) = open(&disk, Lsn(0)).unwrap();
            log.wait_durable(log.append(Durability::Always, &record(0, bytes)).unwrap()).unwrap();
            log.wait_durable(log.append(Durability::None, b"the old one").unwrap()).unwrap();
            let disk = disk.power_cut(seed);
            let (log, records) = open(&disk, Lsn(0)).unwrap();
            if records.len() > 1 {
                continue;
            }
            dropped += 1;
            log.wait_durable(log.append(Durability::None, b"the new one").unwrap()).unwrap();
            for seed in 0..8 {
                let (_, records) = open(&disk.power_cut(seed), Lsn(0)).unwrap();
                if let Some((_, second)) = records.get(1) {
                    assert_eq!(second, b"the new one", "{bytes} bytes, seed {seed}");
                    came += 1;
                }
            }
        }
    }
    assert!(dropped > 100 && came > 100, "{dropped} {came}");
}

#[test]
fn store_ahead_of_a_log_that_lost_its_lazy_tail_is_believed() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    for index in 0..10 {
        log.wait_durable(log.append(Durability::None, &record(index, 10)).unwrap()).unwrap();
    }
    // A power cut that kept nothing; the checkpoint up to 10 had been made.
    let disk = (0..1000).map(|seed| disk.power_cut(seed)).find(open_empty).unwrap();
    let log = Log::open(&dir(), options(&disk), Lsn(10), |_, _| panic!("nothing to replay")).unwrap();
    assert_eq!(log.append(Durability::Always, b"eleventh").unwrap(), Lsn(11));
    drop(log);
    assert_eq!(open(&disk, Lsn(10)).unwrap().1, [(Lsn(11), b"eleventh".to_vec())]);
}

fn open_empty(disk: &FaultyDisk) -> bool {
    open(&disk.process_killed(), Lsn(0)).is_ok_and(|(_, records)| records.is_empty())
}
