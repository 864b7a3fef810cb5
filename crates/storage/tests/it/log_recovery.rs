//! What the log makes of damaged files: torn tails are dropped, damage in the middle stops it, with words for the operator.

use dormouse_storage::{Disk, Durability, Error, FaultyDisk, Lsn};

use crate::support::{Dice, dir, open, read_all, record, segments};

/// Where batches begin in a segment, and the bytes around a record alone in its batch: part of the format.
const BATCHES_AT: usize = 4096;
const AROUND_BYTES: usize = 48;

/// A log of `count` records, each in a batch of its own, as a killed process leaves it.
fn log_of(count: u64, payload_bytes: usize, durability: Durability) -> FaultyDisk {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    for index in 1..=count {
        log.wait_durable(log.append(durability, &record(index, payload_bytes)).unwrap()).unwrap();
    }
    disk.process_killed()
}

/// Where the batch of the n-th record (from 1) begins, all in one segment.
fn batch_at(index: usize, payload_bytes: usize) -> usize {
    BATCHES_AT + (index - 1) * (AROUND_BYTES + 8 + payload_bytes)
}

fn flip(disk: &FaultyDisk, segment: usize, at: usize) {
    disk.damage(&segments(disk)[segment], |bytes| bytes[at] ^= 0x40).unwrap();
}

#[test]
fn format_is_what_its_description_says() {
    let disk = log_of(1, 2, Durability::Always);
    disk.damage(&segments(&disk)[0], |bytes| {
        assert_eq!(bytes[0..8], *b"DORMLOG\0");
        assert_eq!(bytes[8..16], [1, 0, 0, 0, 0, 16, 0, 0]);
        assert_eq!(bytes[16..32], [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let (salt, header_checksum) = (bytes[32..40].to_vec(), bytes[40..44].to_vec());
        let batch = &bytes[BATCHES_AT..];
        assert_eq!(batch[0..8], salt);
        assert_eq!(batch[8..16], [14, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(batch[16..32], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(batch[36..40], header_checksum);
        assert_eq!(batch[44..58], [10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(batch[58..], vec![0; batch.len() - 58]);
    })
    .unwrap();
}

#[test]
fn torn_tail_is_dropped_written_over_and_stays_gone() {
    let disk = log_of(5, 100, Durability::Always);
    flip(&disk, 0, batch_at(5, 100) + 60);
    let (log, records) = open(&disk, Lsn(0)).unwrap();
    assert_eq!(records.len(), 4);
    let dropped = log.recovery().dropped.unwrap();
    assert_eq!((dropped.from, dropped.had_batches_after), (Lsn(5), false));
    assert_eq!(log.append(Durability::Always, b"instead").unwrap(), Lsn(5));
    drop(log);
    let (records, recovery) = read_all(&disk).unwrap();
    assert_eq!(records[4], (Lsn(5), b"instead".to_vec()));
    assert_eq!((records.len(), recovery.dropped), (5, None));
}

#[test]
fn batch_left_behind_a_dropped_one_is_never_taken_up_again() {
    // The third batch is lost, the fourth is whole. What is written in the third's place has its length and its bytes.
    let disk = log_of(4, 100, Durability::None);
    flip(&disk, 0, batch_at(3, 100) + 60);
    let (log, records) = open(&disk, Lsn(0)).unwrap();
    assert_eq!(records.len(), 2);
    assert!(log.recovery().dropped.unwrap().had_batches_after);
    log.wait_durable(log.append(Durability::None, &record(3, 100)).unwrap()).unwrap();
    let (records, _) = read_all(&disk).unwrap();
    assert_eq!(records.len(), 3);
}

#[test]
fn damage_before_a_batch_that_vouches_for_it_is_corruption() {
    let disk = log_of(5, 100, Durability::Always);
    let at = batch_at(3, 100);
    flip(&disk, 0, at + 60);
    let before = disk.operations();
    let Err(error @ Error::Corrupt { .. }) = open(&disk, Lsn(0)).map(drop) else { panic!("opened") };
    let said = error.to_string();
    assert!(said.contains("0000000000000001.log is corrupt at byte"), "{said}");
    assert!(said.contains(&at.to_string()) && said.contains("LSN 3") && said.contains("restore"), "{said}");
    assert_eq!(disk.operations(), before, "nothing was changed");
}

#[test]
fn one_batch_vouches_for_the_one_right_before_it() {
    let disk = log_of(5, 100, Durability::Always);
    flip(&disk, 0, batch_at(4, 100) + 60);
    assert!(matches!(open(&disk, Lsn(0)).map(drop), Err(Error::Corrupt { .. })));
}

#[test]
fn advice_for_a_corrupt_log_works() {
    let disk = log_of(30, 900, Durability::Always);
    let all = segments(&disk);
    assert!(all.len() >= 3, "{all:?}");
    flip(&disk, 1, BATCHES_AT + 60);
    assert!(matches!(open(&disk, Lsn(0)).map(drop), Err(Error::Corrupt { .. })));
    for segment in &all[1..] {
        disk.rename(segment, &segment.with_extension("log.moved")).unwrap();
    }
    let (_, records) = open(&disk, Lsn(0)).unwrap();
    assert!(!records.is_empty() && records.len() < 30);
}

#[test]
fn damage_at_the_end_of_an_earlier_segment_is_corruption_too() {
    let disk = log_of(30, 900, Durability::None);
    let first = segments(&disk)[0].clone();
    disk.damage(&first, |bytes| {
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap();
        bytes[end] ^= 1;
    })
    .unwrap();
    let error = open(&disk, Lsn(0)).map(drop).unwrap_err();
    assert!(error.to_string().contains("the next segment begins at LSN"), "{error}");
}

#[test]
fn missing_segment_in_the_middle_is_corruption() {
    let disk = log_of(30, 900, Durability::Always);
    disk.remove(&segments(&disk)[1]).unwrap();
    let error = open(&disk, Lsn(0)).map(drop).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }) && error.to_string().contains("the segment is missing"), "{error}");
}

#[test]
fn log_that_begins_after_what_the_store_has_is_corruption() {
    let disk = log_of(30, 900, Durability::Always);
    disk.remove(&segments(&disk)[0]).unwrap();
    let error = open(&disk, Lsn(0)).map(drop).unwrap_err();
    assert!(error.to_string().contains("the store needs it from LSN 1"), "{error}");
    // A store that has them does not miss them.
    open(&disk, Lsn(20)).unwrap();
}

#[test]
fn bad_segment_header_is_corruption_even_at_the_end() {
    for at in [0, 9, 17, 33, 41] {
        let disk = log_of(2, 10, Durability::Always);
        flip(&disk, 0, at);
        let error = open(&disk, Lsn(0)).map(drop).unwrap_err();
        assert!(matches!(error, Error::Corrupt { offset: 0, .. }), "byte {at}: {error}");
    }
}

#[test]
fn failed_read_stops_the_opening_and_costs_nothing() {
    let whole = log_of(30, 900, Durability::Always);
    drop(open(&whole.process_killed(), Lsn(0)).unwrap());
    for read in 1.. {
        let disk = whole.process_killed();
        disk.fail_read_at(read);
        let before = disk.operations();
        match open(&disk, Lsn(0)) {
            Ok((_, records)) => {
                assert!(disk.reads() < read, "every read counts");
                assert_eq!(records.len(), 30);
                return;
            }
            Err(error) => {
                assert!(matches!(error, Error::Io { .. }), "read {read}: {error}");
                assert_eq!(disk.operations(), before, "read {read}: nothing was changed");
                assert_eq!(open(&disk, Lsn(0)).unwrap().1.len(), 30);
            }
        }
    }
}

#[test]
fn payload_that_looks_like_a_batch_is_not_one() {
    // A client stores the bytes of a real batch, then the record that holds them is torn.
    let disk = log_of(3, 100, Durability::Always);
    let mut stolen = Vec::new();
    disk.damage(&segments(&disk)[0], |bytes| stolen = bytes[BATCHES_AT..].to_vec()).unwrap();
    let other = FaultyDisk::default();
    let (log, _) = open(&other, Lsn(0)).unwrap();
    log.wait_durable(log.append(Durability::Always, &stolen).unwrap()).unwrap();
    let other = other.process_killed();
    flip(&other, 0, BATCHES_AT + 45);
    assert!(read_all(&other).unwrap().0.is_empty());
}

/// Random records, then one random flip, cut or zeroed sector. What comes back is a prefix of what was written; and if
/// it is shorter than what had been proven on disk by a later batch, it does not come back at all.
#[test]
fn any_damage_leaves_a_prefix_or_is_refused() {
    for seed in 0..400 {
        let mut dice = Dice(seed);
        let strict = dice.below(2) == 0;
        let durability = if strict { Durability::Always } else { Durability::EverySec };
        let disk = FaultyDisk::default();
        let (log, _) = open(&disk, Lsn(0)).unwrap();
        let mut written = Vec::new();
        let mut last_batch = 0;
        for index in 0..=dice.below(25) {
            let payload = record(index, 512 + dice.below(1500) as usize);
            let lsn = log.append(durability, &payload).unwrap();
            log.wait_durable(lsn).unwrap();
            written.push(payload);
            last_batch = lsn.0;
        }
        let disk = disk.process_killed();
        damage(&disk, &mut dice);
        match open(&disk, Lsn(0)) {
            Err(Error::Corrupt { .. }) => {}
            Err(error) => panic!("seed {seed}: {error}"),
            Ok((_, records)) => {
                for ((lsn, found), (index, expected)) in records.iter().zip(written.iter().enumerate()) {
                    assert_eq!((lsn.0, found), (index as u64 + 1, expected), "seed {seed}");
                }
                let left = records.len() as u64;
                // A sector touches two batches of this length at most, and nothing vouches for the last one.
                assert!(!strict || left + 2 >= last_batch, "seed {seed}: {left} of {last_batch}");
            }
        }
    }
}

fn damage(disk: &FaultyDisk, dice: &mut Dice) {
    let all = segments(disk);
    let path = &all[dice.below(all.len() as u64) as usize];
    assert_eq!(path.parent(), Some(&*dir()));
    let last = path == all.last().unwrap();
    disk.damage(path, |bytes| {
        let at = dice.below(bytes.len() as u64) as usize;
        match dice.below(3) {
            0 => bytes[at] ^= 1 << dice.below(8),
            // A cut further back takes several batches with it and leaves no witness; only a tail is cut.
            1 if last => {
                let end = bytes.iter().rposition(|&byte| byte != 0).unwrap_or(0);
                bytes.truncate(end.saturating_sub(dice.below(8) as usize).max(BATCHES_AT));
            }
            _ => {
                let sector = at / 512 * 512;
                let end = bytes.len().min(sector + 512);
                bytes[sector..end].fill(0);
            }
        }
    })
    .unwrap();
}
