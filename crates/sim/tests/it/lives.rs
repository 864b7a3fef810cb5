//! Lives from seeds: a few hundred here, ten thousand and more with the program (`cargo run -p dormouse-sim -- --seeds 10000`).

use std::sync::atomic::{AtomicU64, Ordering};

use dormouse_sim::{Mutant, Report, run};

const STEPS: u64 = 300;

/// `DORMOUSE_SIM_SEEDS` runs more of them.
#[test]
fn nothing_acknowledged_is_lost_in_any_life() {
    let seeds = std::env::var("DORMOUSE_SIM_SEEDS").map_or(200, |value| value.parse().unwrap());
    let next = AtomicU64::new(1);
    let lived = |_| {
        let mut sum = Report::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds {
                return sum;
            }
            sum += run(seed, STEPS, None).unwrap_or_else(|failure| panic!("{failure}"));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut sum = Report::default();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(move || lived(thread))).collect();
        for thread in all {
            sum += thread.join().unwrap();
        }
    });
    println!("{sum:?}");
    // What is to be survived has to happen.
    let happened =
        [sum.crashes, sum.power_cuts, sum.records_lost, sum.starts_failed, sum.slept, sum.repeats, sum.restored];
    assert!(happened.iter().all(|&times| times > seeds / 40), "{sum:?}");
}

#[test]
fn one_seed_is_one_life_to_the_last_byte() {
    for seed in 1..=6 {
        let again = std::thread::spawn(move || run(seed, STEPS, None).unwrap());
        assert_eq!(run(seed, STEPS, None).unwrap(), again.join().unwrap(), "seed {seed}");
    }
}

/// A judge that finds nothing has to show that it can.
#[test]
fn the_judge_notices_every_kind_of_bug() {
    for mutant in Mutant::ALL {
        let noticed = (1..=200).any(|seed| run(seed, STEPS, Some(mutant)).is_err());
        assert!(noticed, "{mutant:?} is not noticed");
    }
}
