//! What the log does for those who use it, while all goes well and once it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dormouse_storage::{Durability, Error, Fault, FaultyDisk, Log, LogOptions, Lsn};

use crate::support::{dir, files, open, options, read_all, record, segments};

const KINDS: [Durability; 3] = [Durability::Always, Durability::EverySec, Durability::None];

#[test]
fn records_come_back_in_order_and_only_those_after_the_position_asked_for() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    for index in 1..=20 {
        assert_eq!(log.append(KINDS[index as usize % 3], &record(index, 30)).unwrap(), Lsn(index));
    }
    log.close().unwrap();
    let (log, records) = open(&disk, Lsn(15)).unwrap();
    let expected: Vec<_> = (16..=20).map(|index| (Lsn(index), record(index, 30))).collect();
    assert_eq!(records, expected);
    assert!(log.recovery().closed);
    assert_eq!((log.last(), log.durable()), (Lsn(20), Lsn(20)));
}

#[test]
fn empty_record_is_a_record() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    log.wait_durable(log.append(Durability::Always, b"").unwrap()).unwrap();
    drop(log);
    assert_eq!(read_all(&disk).unwrap().0, [(Lsn(1), Vec::new())]);
}

#[test]
fn record_at_the_limit_is_taken_and_one_past_it_refused() {
    let disk = FaultyDisk::default();
    let mut options = options(&disk);
    options.record_bytes_max = 100;
    let log = Log::open(&dir(), options, Lsn(0), |_, _| Ok(())).unwrap();
    log.append(Durability::Always, &[0; 100]).unwrap();
    let refused = log.append(Durability::Always, &[0; 101]);
    assert!(matches!(refused, Err(Error::RecordTooLarge { bytes: 101, bytes_max: 100 })));
    assert_eq!(log.last(), Lsn(1));
}

#[test]
fn record_longer_than_a_segment_and_the_pending_limit_goes_through_alone() {
    let disk = FaultyDisk::default();
    let mut options = options(&disk);
    options.pending_bytes_max = 1000;
    let log = Log::open(&dir(), options, Lsn(0), |_, _| Ok(())).unwrap();
    for index in 1..=5 {
        log.append(Durability::Always, &record(index, 20_000)).unwrap();
        log.append(Durability::Always, &record(index, 10)).unwrap();
    }
    log.sync().unwrap();
    let (records, _) = read_all(&disk).unwrap();
    assert_eq!(records.len(), 10);
    assert_eq!(records[8], (Lsn(9), record(5, 20_000)));
}

#[test]
fn sync_puts_lazy_records_on_disk() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    log.append(Durability::None, b"lazy").unwrap();
    log.sync().unwrap();
    assert_eq!(read_all(&disk.power_cut(1)).unwrap().0, [(Lsn(1), b"lazy".to_vec())]);
}

#[test]
fn strict_record_takes_the_lazy_ones_before_it_to_disk() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    log.wait_durable(log.append(Durability::None, b"lazy").unwrap()).unwrap();
    log.wait_durable(log.append(Durability::Always, b"strict").unwrap()).unwrap();
    for seed in 0..20 {
        assert_eq!(read_all(&disk.power_cut(seed)).unwrap().0.len(), 2);
    }
}

#[test]
fn timed_sync_happens_once_and_then_no_timer_runs() {
    let disk = FaultyDisk::default();
    let mut options = options(&disk);
    options.sync_interval = Duration::from_millis(5);
    let log = Log::open(&dir(), options, Lsn(0), |_, _| Ok(())).unwrap();
    log.wait_durable(log.append(Durability::EverySec, b"soon").unwrap()).unwrap();
    let patience = Instant::now();
    while read_all(&disk.power_cut(3)).unwrap().0.is_empty() {
        assert!(patience.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    let operations = disk.operations();
    // Nothing to wait for: if a timer ran it would show as a further sync.
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(disk.operations(), operations);
}

#[test]
fn lazy_records_are_written_by_the_thread_that_says_so_and_as_one_batch() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    let before = disk.operations();
    for index in 1..=10 {
        log.append(KINDS[1 + index as usize % 2], &record(index, 30)).unwrap();
    }
    assert_eq!((log.durable(), disk.operations()), (Lsn(0), before));
    log.write_out();
    assert_eq!((log.durable(), disk.operations()), (Lsn(10), before + 1));
}

#[test]
fn failed_write_by_an_appending_thread_poisons_the_log() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Refused);
    let lsn = log.append(Durability::None, b"lost").unwrap();
    log.write_out();
    assert!(log.has_failed());
    assert!(log.wait_durable(lsn).is_err());
    assert!(matches!(log.append(Durability::None, b"more"), Err(Error::Poisoned { .. })));
    assert!(log.close().is_err());
}

/// A log line may take long to write: whoever appends while it is written must not write behind the batch that failed.
#[test]
fn nobody_writes_between_a_failure_and_its_announcement() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    let written = log.append(Durability::None, b"written").unwrap();
    log.write_out();
    disk.fail_at(disk.operations() + 1, Fault::Refused);
    log.append(Durability::None, b"lost").unwrap();
    let log = Arc::new(log);
    let announced = Arc::new(AtomicUsize::new(0));
    let (theirs, count) = (Arc::clone(&log), Arc::clone(&announced));
    let reader = SlowReader(Box::new(move || {
        let other = std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                let appended = theirs.append(Durability::None, b"behind");
                theirs.write_out();
                appended
            });
            other.join().unwrap()
        });
        assert!(matches!(other, Err(Error::Poisoned { .. })));
        assert_eq!(theirs.durable(), written);
        count.fetch_add(1, Ordering::Relaxed);
    }));
    tracing::subscriber::with_default(reader, || log.write_out());
    assert_eq!(announced.load(Ordering::Relaxed), 1);
    assert_eq!(log.durable(), written);
    drop(log);
    assert_eq!(read_all(&disk).unwrap().0, [(Lsn(1), b"written".to_vec())]);
}

/// Does something else whenever something is logged.
struct SlowReader(Box<dyn Fn() + Send + Sync>);

impl tracing::Subscriber for SlowReader {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0();
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn many_appenders_share_writes_and_lose_nothing() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    let log = Arc::new(log);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let log = Arc::clone(&log);
            scope.spawn(move || {
                for index in 0..200 {
                    let lsn = log.append(KINDS[(index % 3) as usize], &record(thread, 10)).unwrap();
                    log.wait_durable(lsn).unwrap();
                    assert!(log.durable() >= lsn);
                }
            });
        }
    });
    let (records, _) = read_all(&disk).unwrap();
    assert_eq!(records.len(), 1600);
    assert!(records.windows(2).all(|pair| pair[0].0.next() == pair[1].0));
}

#[test]
fn listeners_hear_of_progress_and_of_the_end() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&calls);
    log.on_durable(Box::new(move || {
        heard.fetch_add(1, Ordering::SeqCst);
    }));
    log.wait_durable(log.append(Durability::Always, b"a").unwrap()).unwrap();
    wait_for(|| calls.load(Ordering::SeqCst) == 1);
    disk.fail_at(disk.operations() + 1, Fault::Refused);
    let lsn = log.append(Durability::Always, b"b").unwrap();
    assert!(matches!(log.wait_durable(lsn), Err(Error::Poisoned { .. })));
    wait_for(|| calls.load(Ordering::SeqCst) == 2);
}

fn wait_for(condition: impl Fn() -> bool) {
    let patience = Instant::now();
    while !condition() {
        assert!(patience.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}

#[test]
fn failed_write_poisons_and_nothing_is_tried_again() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    log.wait_durable(log.append(Durability::Always, b"kept").unwrap()).unwrap();
    disk.fail_at(disk.operations() + 1, Fault::Torn);
    let lsn = log.append(Durability::Always, &record(2, 3000)).unwrap();
    assert!(matches!(log.wait_durable(lsn), Err(Error::Poisoned { .. })));
    let operations = disk.operations();
    assert!(matches!(log.append(Durability::None, b"refused"), Err(Error::Poisoned { .. })));
    assert!(matches!(log.sync(), Err(Error::Poisoned { .. })));
    let said = log.poisoned().unwrap().to_string();
    assert!(said.contains("injected fault") && said.contains("restart"), "{said}");
    assert_eq!(log.durable(), Lsn(1));
    assert!(log.close().is_err());
    assert_eq!(disk.operations(), operations);
    assert_eq!(read_all(&disk).unwrap().0, [(Lsn(1), b"kept".to_vec())]);
}

#[test]
fn closed_log_refuses_appends_and_closes_twice() {
    let (log, _) = open(&FaultyDisk::default(), Lsn(0)).unwrap();
    log.append(Durability::None, b"a").unwrap();
    log.close().unwrap();
    log.close().unwrap();
    assert!(matches!(log.append(Durability::None, b"b"), Err(Error::Closed)));
    assert!(log.sync().is_ok());
}

#[test]
fn trim_reuses_covered_segments_and_resets_the_tail() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    let mut last = Lsn(0);
    for index in 1..=60 {
        last = log.append(Durability::Always, &record(index, 900)).unwrap();
        log.wait_durable(last).unwrap();
    }
    assert!(log.tail_bytes() >= 60 * 900);
    let before = segments(&disk).len();
    assert!(before > 5, "{before}");
    log.trim(last).unwrap();
    assert_eq!((segments(&disk).len(), log.tail_bytes()), (1, 0));
    assert!(!files(&disk, &dir(), "spare").is_empty());
    for index in 61..=100 {
        last = log.append(Durability::Always, &record(index, 900)).unwrap();
        log.wait_durable(last).unwrap();
    }
    drop(log);
    // What recycled segments held before never comes back.
    let (_, records) = open(&disk, Lsn(60)).unwrap();
    let expected: Vec<_> = (61..=100).map(|index| (Lsn(index), record(index, 900))).collect();
    assert_eq!(records, expected);
}

#[test]
fn segment_made_ready_in_the_background_is_used() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    for index in 0..3 {
        log.wait_durable(log.append(Durability::Always, &record(index, 900)).unwrap()).unwrap();
    }
    wait_for(|| files(&disk, &dir(), "spare").len() == 1);
    for index in 3..6 {
        log.wait_durable(log.append(Durability::Always, &record(index, 900)).unwrap()).unwrap();
    }
    assert_eq!(segments(&disk).len(), 2);
    drop(log);
    assert_eq!(read_all(&disk).unwrap().0.len(), 6);
}

#[test]
fn tail_counts_only_what_a_trim_left() {
    let (log, _) = open(&FaultyDisk::default(), Lsn(0)).unwrap();
    for index in 1..=300 {
        log.append(Durability::None, &record(index, 1000)).unwrap();
    }
    let all = log.tail_bytes();
    log.trim(Lsn(150)).unwrap();
    let (half, exact) = (log.tail_bytes(), all / 2);
    assert!(half >= exact && half <= exact + (64 << 10) + 2000, "{half} of {all}");
}

#[test]
fn replay_error_stops_the_opening() {
    let disk = FaultyDisk::default();
    let (log, _) = open(&disk, Lsn(0)).unwrap();
    log.append(Durability::Always, b"strange").unwrap();
    drop(log);
    let refuse = |lsn: Lsn, _: &[u8]| Err(Error::Replay { lsn: lsn.0, what: "unknown effect".into() });
    let refused = Log::open(&dir(), options(&disk), Lsn(0), refuse);
    assert!(matches!(refused, Err(Error::Replay { lsn: 1, .. })));
}

#[test]
fn real_files_carry_records_over() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let mut count = 0;
        let log = Log::open(dir.path(), LogOptions::default(), Lsn(0), |_, _| {
            count += 1;
            Ok(())
        });
        let log = log.unwrap();
        assert_eq!(count, round * 100);
        for index in 0..100 {
            log.append(KINDS[index % 3], &record(index as u64, index * 50)).unwrap();
        }
        log.sync().unwrap();
    }
}
