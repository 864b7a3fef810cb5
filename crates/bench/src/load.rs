//! The load: a fixed number of connections, each of which sends its next batch when the last one is answered.
//!
//! One thread drives all connections, so that the generator never takes more than one core. A round begins with a moment
//! that is not counted; the clock and the servers' processor time are read at the borders of what is.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::contestant::{Contestant, Stage};
use crate::scenario::Scenario;
use crate::wire::{KEYS, Keys, Op, Wire};

/// Before each round's measured part.
const WARM_UP: Duration = Duration::from_millis(200);
/// A server that is silent for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Latencies are kept with this many digits.
const DIGITS: u8 = 3;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) round: Duration,
}

/// What one contestant showed in a round, or in the median of rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) commands_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Processor time of the server's processes per command.
    pub(crate) processor_us: f64,
}

/// A scenario, with the medians of each contestant in the scenario's order.
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
    pub(crate) medians: Vec<Measured>,
}

pub(crate) fn run_all(stage: &Stage, scenarios: &[Scenario], plan: Plan) -> anyhow::Result<Vec<Outcome>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for contestant in
        [Contestant::DormouseResp, Contestant::DormouseRespNone, Contestant::Redis, Contestant::RedisAlways]
    {
        runtime.block_on(fill(stage.address(contestant), contestant.wire()))?;
    }
    let mut outcomes = Vec::new();
    for scenario in scenarios {
        let mut rounds = vec![Vec::new(); scenario.contestants.len()];
        for number in 0..plan.rounds {
            let mut turns: Vec<usize> = (0..scenario.contestants.len()).collect();
            // Who goes first has the cooler machine: it is another one each time.
            turns.rotate_left(number % scenario.contestants.len());
            for turn in turns {
                let contestant = scenario.contestants[turn];
                let measured = LocalSet::new().block_on(&runtime, round(stage, scenario, contestant, plan.round));
                rounds[turn].push(measured.with_context(|| format!("{} {}", scenario.name(), contestant.name()))?);
            }
        }
        let medians: Vec<Measured> = rounds.iter().map(|rounds| median(rounds)).collect();
        for (contestant, median) in scenario.contestants.iter().zip(&medians) {
            println!(
                "{:<24} {:<28} {:>9.0}/s  p50 {:>7.0} us  p99 {:>7.0} us  {:>6.2} us processor",
                scenario.name(),
                contestant.name(),
                median.commands_per_second,
                median.p50_us,
                median.p99_us,
                median.processor_us
            );
        }
        outcomes.push(Outcome { scenario: scenario.clone(), medians });
    }
    Ok(outcomes)
}

/// Sets every key, so that GETs find something.
async fn fill(address: SocketAddr, wire: Wire) -> anyhow::Result<()> {
    let mut connection = Connection::open(address, wire).await?;
    let mut keys = Keys::new(0);
    // Keys come in no order: enough draws that hardly any is left out.
    for _ in 0..12 {
        connection.batch(Op::Set, KEYS as usize, &mut keys).await?;
    }
    Ok(())
}

/// What the connections of a round share.
struct Round {
    counting: Cell<bool>,
    over: Cell<bool>,
    commands: Cell<u64>,
    latencies: RefCell<Histogram<u64>>,
}

async fn round(
    stage: &Stage,
    scenario: &Scenario,
    contestant: Contestant,
    length: Duration,
) -> anyhow::Result<Measured> {
    let shared = Rc::new(Round {
        counting: Cell::new(false),
        over: Cell::new(false),
        commands: Cell::new(0),
        latencies: RefCell::new(Histogram::new(DIGITS)?),
    });
    let address = stage.address(contestant);
    let mut tasks = Vec::new();
    for number in 0..scenario.connections {
        let connection = Connection::open(address, contestant.wire()).await?;
        let keys = Keys::new(number as u64 * 7919 + 1);
        tasks.push(tokio::task::spawn_local(drive(connection, scenario.op, scenario.depth, keys, Rc::clone(&shared))));
    }
    tokio::time::sleep(WARM_UP).await;
    let (begun, before) = (Instant::now(), stage.processor_time(contestant)?);
    shared.counting.set(true);
    tokio::time::sleep(length).await;
    shared.counting.set(false);
    let (took, after) = (begun.elapsed(), stage.processor_time(contestant)?);
    let commands = shared.commands.get() as f64;
    shared.over.set(true);
    for task in tasks {
        task.await.context("a connection's task failed")??;
    }
    if commands == 0.0 {
        bail!("nothing was answered");
    }
    let latencies = shared.latencies.borrow();
    Ok(Measured {
        commands_per_second: commands / took.as_secs_f64(),
        p50_us: latencies.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: latencies.value_at_quantile(0.99) as f64 / 1e3,
        processor_us: after.saturating_sub(before).as_secs_f64() * 1e6 / commands,
    })
}

async fn drive(
    mut connection: Connection,
    op: Op,
    depth: usize,
    mut keys: Keys,
    round: Rc<Round>,
) -> anyhow::Result<()> {
    while !round.over.get() {
        let begun = Instant::now();
        connection.batch(op, depth, &mut keys).await?;
        if round.counting.get() {
            round.commands.set(round.commands.get() + depth as u64);
            round.latencies.borrow_mut().record(begun.elapsed().as_nanos() as u64)?;
        }
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    wire: Wire,
    request: Vec<u8>,
    input: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr, wire: Wire) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, wire, request: Vec::new(), input: Vec::with_capacity(64 << 10) };
        if let Some(greeting) = wire.greeting() {
            connection.stream.write_all(greeting.as_bytes()).await?;
            connection.replies(1).await?;
        }
        Ok(connection)
    }

    /// Sends `depth` commands and reads their replies.
    async fn batch(&mut self, op: Op, depth: usize, keys: &mut Keys) -> anyhow::Result<()> {
        for _ in 0..self.wire.exchanges(depth) {
            self.request.clear();
            self.wire.request(op, depth, keys, &mut self.request);
            self.stream.write_all(&self.request).await?;
            self.replies(self.wire.replies(depth)).await?;
        }
        Ok(())
    }

    async fn replies(&mut self, mut count: usize) -> anyhow::Result<()> {
        self.input.clear();
        let mut seen = 0;
        while count > 0 {
            while count > 0
                && seen < self.input.len()
                && let Some(length) = self.wire.reply(&self.input[seen..])?
            {
                seen += length;
                count -= 1;
            }
            if count > 0 {
                let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input));
                if read.await.context("the server is silent")?? == 0 {
                    bail!("the server has closed the connection");
                }
            }
        }
        if seen != self.input.len() {
            bail!("more came back than was asked for");
        }
        Ok(())
    }
}

/// The median of each figure by itself.
fn median(rounds: &[Measured]) -> Measured {
    let of = |figure: fn(&Measured) -> f64| {
        let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    Measured {
        commands_per_second: of(|measured| measured.commands_per_second),
        p50_us: of(|measured| measured.p50_us),
        p99_us: of(|measured| measured.p99_us),
        processor_us: of(|measured| measured.processor_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_figure_by_figure() {
        let measured = |a, b| Measured { commands_per_second: a, p50_us: b, ..Measured::default() };
        let median = median(&[measured(1.0, 9.0), measured(5.0, 1.0), measured(3.0, 2.0)]);
        assert!((median.commands_per_second - 3.0).abs() < 1e-9 && (median.p50_us - 2.0).abs() < 1e-9);
    }
}
