//! Files of the commit log: whatever became of their bytes, what comes back is some first part of what was written, or an
//! error; and a log that opens can be written to. The first two bytes say how much is written, the rest is damage: three
//! bytes each, a place (little endian) and what is put there; a file that is nothing but the input is tried, too.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use dormouse_storage::{Durability, Error, FaultyDisk, Log, LogOptions, Lsn};
use libfuzzer_sys::fuzz_target;

const DIR: &str = "/log";

fn open(disk: &FaultyDisk) -> Result<(Log, Vec<Vec<u8>>), Error> {
    let mut options = LogOptions::default();
    options.disk = Arc::new(disk.clone());
    options.segment_bytes = 4 << 10;
    let mut records = Vec::new();
    let log = Log::open(Path::new(DIR), options, Lsn(0), |lsn, record| {
        records.push(record.to_vec());
        assert_eq!(lsn.0, records.len() as u64);
        Ok(())
    })?;
    Ok((log, records))
}

fn record(at: usize, length: usize) -> Vec<u8> {
    vec![at as u8; length]
}

fuzz_target!(|input: &[u8]| {
    let [count, length, damage @ ..] = input else { return };
    let (count, length) = (usize::from(*count) % 24, usize::from(*length) * 3);
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk).expect("an empty disk");
    for at in 0..count {
        let durability = if at % 3 == 0 { Durability::Always } else { Durability::None };
        log.append(durability, &record(at, length)).expect("a disk without faults");
    }
    log.sync().expect("a disk without faults");
    let left = disk.process_killed();
    drop(log);

    let segment = Path::new(DIR).join(format!("{:016x}.log", 1));
    let whole = damage.first() == Some(&0xff);
    let done = left.damage(&segment, |bytes| {
        if whole {
            bytes.splice(..damage.len().min(bytes.len()), damage.iter().copied());
            return;
        }
        for patch in damage.chunks_exact(3) {
            let at = usize::from(u16::from_le_bytes([patch[0], patch[1]]));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = patch[2];
            }
        }
    });
    done.expect("the first segment is there");
    let Ok((log, records)) = open(&left) else { return };
    assert!(records.len() <= count);
    for (at, found) in records.iter().enumerate() {
        assert_eq!(*found, record(at, length));
    }
    let lsn = log.append(Durability::Always, b"more").expect("a disk without faults");
    log.wait_durable(lsn).expect("a disk without faults");
    drop(log);
    let again = open(&left).expect("what was repaired opens").1;
    assert_eq!(again.len(), records.len() + 1);
});
