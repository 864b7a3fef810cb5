//! What memory and waking cost, beside Redis: the time from a start to the first answer, bytes per key, a database larger
//! than memory, idle databases, and what checkpoints do to latency.
//!
//! One server at a time is up, asked over RESP by a handful of threads.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;

use crate::contestant::{TOKEN, free_address};

/// How much there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Keys with values of 100 bytes.
    keys: u64,
    /// Keys with values of 1,000 bytes, for memory that has room for few of them.
    large: u64,
    /// The bound then, in MiB.
    bound_mib: u64,
    /// Databases that sleep.
    databases: usize,
    /// Seconds of each load.
    seconds: u64,
}

impl Size {
    pub(crate) const fn of(quick: bool) -> Self {
        if quick {
            Self { keys: 100_000, large: 100_000, bound_mib: 32, databases: 100, seconds: 3 }
        } else {
            Self { keys: 1_000_000, large: 1_000_000, bound_mib: 256, databases: 1_000, seconds: 10 }
        }
    }
}

/// Threads that ask, and commands each has in flight.
const THREADS: u64 = 8;
const DEPTH: u64 = 16;
/// SETs a second of each thread while latencies are measured: far from what the server can do.
const PACE: u64 = 500;
const PATIENCE: Duration = Duration::from_mins(2);

/// Where programs and data are.
pub(crate) struct Place<'a> {
    pub(crate) dormouse: &'a Path,
    pub(crate) redis: &'a Path,
    pub(crate) scratch: &'a Path,
}

/// A server, ended when dropped.
struct Up {
    child: Child,
    address: SocketAddr,
    token: bool,
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Up {
    fn start(mut command: Command, address: SocketAddr, token: bool) -> anyhow::Result<Self> {
        let name = command.get_program().display().to_string();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self { child: child.with_context(|| format!("{name} cannot be started"))?, address, token })
    }

    /// Waits until a key is there; says how long that was from `since`.
    fn answered(&mut self, since: Instant, key: &str) -> anyhow::Result<Duration> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server has ended: {status}");
            }
            if let Ok(mut line) = Line::open(self.address, self.token)
                && line.ask(&["GET", key]).is_ok_and(|reply| reply.starts_with(b"$") && reply != b"$-1")
            {
                return Ok(since.elapsed());
            }
            if since.elapsed() > PATIENCE {
                bail!("no answer from {}", self.address);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_up(&mut self) -> anyhow::Result<()> {
        let since = Instant::now();
        while Line::open(self.address, self.token).and_then(|mut line| line.ask(&["PING"])).is_err() {
            if since.elapsed() > PATIENCE || self.child.try_wait()?.is_some() {
                bail!("no server at {}", self.address);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Physical memory it takes, in bytes.
    fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: u64 = line.split_whitespace().next().context("VmRSS")?.parse()?;
        Ok(kib << 10)
    }

    /// Stops it in order.
    fn stop(mut self) -> anyhow::Result<()> {
        Command::new("kill").arg(self.child.id().to_string()).status()?;
        self.child.wait()?;
        Ok(())
    }
}

/// A connection.
struct Line(BufReader<TcpStream>);

impl Line {
    fn open(address: SocketAddr, token: bool) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut line = Self(BufReader::new(stream));
        if token {
            line.ask(&["AUTH", TOKEN])?;
        }
        Ok(line)
    }

    /// The first line of a reply, whose rest is passed over.
    fn ask(&mut self, args: &[&str]) -> anyhow::Result<Vec<u8>> {
        self.0.get_mut().write_all(&command(args))?;
        self.reply()
    }

    fn reply(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.0.read_until(b'\n', &mut head)?;
        head.truncate(head.len().saturating_sub(2));
        match head.first() {
            Some(b'$') if head != b"$-1" => {
                let length: usize = std::str::from_utf8(&head[1..])?.parse()?;
                let mut body = vec![0; length + 2];
                self.0.read_exact(&mut body)?;
            }
            Some(b'-') => bail!("{}", String::from_utf8_lossy(&head)),
            Some(_) => {}
            None => bail!("the connection was closed"),
        }
        Ok(head)
    }

    /// The text of a reply that is one.
    fn text(&mut self, args: &[&str]) -> anyhow::Result<String> {
        self.0.get_mut().write_all(&command(args))?;
        let mut head = String::new();
        self.0.read_line(&mut head)?;
        let length: usize = head.trim_end().strip_prefix('$').context("a text")?.parse()?;
        let mut body = vec![0; length + 2];
        self.0.read_exact(&mut body)?;
        Ok(String::from_utf8(body)?)
    }
}

fn command(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    bytes
}

/// Zipf's law with exponent 0.99 over so many keys, by the usual approximation of the inverse of its sum.
struct Zipf {
    keys: u64,
    state: u64,
}

impl Zipf {
    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let share = (self.state >> 11) as f64 / (1_u64 << 53) as f64;
        let rank = (share * (self.keys as f64).ln()).exp() as u64;
        // Ranks are spread over the keys.
        rank.wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.keys
    }
}

/// Sets every key once; all threads have a part of them each. Returns the most memory the server took on the way.
fn fill(up: &Up, keys: u64, bytes: usize) -> anyhow::Result<u64> {
    let value = "v".repeat(bytes);
    let most = std::thread::scope(|scope| -> anyhow::Result<u64> {
        let at_work: Vec<_> = (0..THREADS)
            .map(|thread| {
                let value = &value;
                scope.spawn(move || -> anyhow::Result<()> {
                    let mut line = Line::open(up.address, up.token)?;
                    let mut key = thread;
                    while key < keys {
                        let mut batch = Vec::new();
                        let mut sent = 0;
                        while key < keys && sent < DEPTH {
                            batch.extend(command(&["SET", &format!("key:{key}"), value]));
                            (key, sent) = (key + THREADS, sent + 1);
                        }
                        line.0.get_mut().write_all(&batch)?;
                        (0..sent).try_for_each(|_| line.reply().map(drop))?;
                    }
                    Ok(())
                })
            })
            .collect();
        let mut most = 0;
        while !at_work.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            most = most.max(up.resident()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        for thread in at_work {
            thread.join().map_err(|_| anyhow::anyhow!("a thread of the load has panicked"))??;
        }
        Ok(most)
    })?;
    Ok(most.max(up.resident()?))
}

/// Reads keys by Zipf's law for a while. Returns how many a second, and the most memory the server took.
fn read(up: &Up, keys: u64, seconds: u64) -> anyhow::Result<(f64, u64)> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let begun = Instant::now();
    let (done, most) = std::thread::scope(|scope| -> anyhow::Result<(u64, u64)> {
        let at_work: Vec<_> = (1..=THREADS)
            .map(|thread| {
                scope.spawn(move || -> anyhow::Result<u64> {
                    let mut line = Line::open(up.address, up.token)?;
                    let mut zipf = Zipf { keys, state: thread.wrapping_mul(0x2545_f491_4f6c_dd1d) };
                    let mut done = 0;
                    while Instant::now() < until {
                        let batch: Vec<u8> =
                            (0..DEPTH).flat_map(|_| command(&["GET", &format!("key:{}", zipf.next())])).collect();
                        line.0.get_mut().write_all(&batch)?;
                        (0..DEPTH).try_for_each(|_| line.reply().map(drop))?;
                        done += DEPTH;
                    }
                    Ok(done)
                })
            })
            .collect();
        let mut most = 0;
        while !at_work.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            most = most.max(up.resident()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut done = 0;
        for thread in at_work {
            done += thread.join().map_err(|_| anyhow::anyhow!("a thread of the load has panicked"))??;
        }
        Ok((done, most))
    })?;
    Ok((done as f64 / begun.elapsed().as_secs_f64(), most))
}

/// Sets keys at a steady pace, one at a time on each thread. Returns how long the middle one took, and the slowest in a
/// thousand, counted from when each was due.
fn paced(up: &Up, keys: u64, seconds: u64) -> anyhow::Result<(Duration, Duration)> {
    let value = "v".repeat(1_000);
    let all = std::thread::scope(|scope| -> anyhow::Result<Histogram<u64>> {
        let at_work: Vec<_> = (0..THREADS)
            .map(|thread| {
                let value = &value;
                scope.spawn(move || -> anyhow::Result<Histogram<u64>> {
                    let mut line = Line::open(up.address, up.token)?;
                    let mut zipf = Zipf { keys, state: 99 + thread };
                    let mut took = Histogram::new(3)?;
                    let begun = Instant::now();
                    for turn in 0..seconds * PACE {
                        let due = begun + Duration::from_micros(1_000_000 / PACE) * u32::try_from(turn)?;
                        std::thread::sleep(due.saturating_duration_since(Instant::now()));
                        line.ask(&["SET", &format!("key:{}", zipf.next()), value])?;
                        took.record(due.elapsed().as_micros() as u64)?;
                    }
                    Ok(took)
                })
            })
            .collect();
        let mut all = Histogram::new(3)?;
        for thread in at_work {
            all.add(thread.join().map_err(|_| anyhow::anyhow!("a thread of the load has panicked"))??)?;
        }
        Ok(all)
    })?;
    let at = |quantile| Duration::from_micros(all.value_at_quantile(quantile));
    Ok((at(0.5), at(0.999)))
}

impl Place<'_> {
    fn dormouse(&self, dir: &Path, more: &[&str]) -> anyhow::Result<Up> {
        let address = free_address()?;
        let mut command = Command::new(self.dormouse);
        command.arg("--data").arg(dir).args(["--http", "127.0.0.1:0", "--resp", &address.to_string()]);
        command.args(more).env("DORMOUSE_TOKEN", TOKEN);
        Up::start(command, address, true)
    }

    fn redis(&self, dir: &Path, more: &[&str]) -> anyhow::Result<Up> {
        let address = free_address()?;
        let mut command = Command::new(self.redis);
        command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
        command.arg("--dir").arg(dir).args(more);
        Up::start(command, address, false)
    }

    fn folder(&self, of: &tempfile::TempDir, name: &str) -> anyhow::Result<PathBuf> {
        let _ = self;
        let dir = of.path().join(name);
        std::fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// All tables.
    pub(crate) fn measure(&self, size: Size) -> anyhow::Result<String> {
        std::fs::create_dir_all(self.scratch)?;
        let mut out = String::new();
        for (name, table) in [
            ("waking", Self::waking as fn(&Self, Size, &mut String) -> anyhow::Result<()>),
            ("larger than memory", Self::larger),
            ("idle", Self::idle),
            ("stalls", Self::stalls),
        ] {
            println!("{name}");
            table(self, size, &mut out).with_context(|| name.to_owned())?;
        }
        Ok(out)
    }

    fn waking(&self, size: Size, out: &mut String) -> anyhow::Result<()> {
        let all = tempfile::tempdir_in(self.scratch)?;
        let _ = writeln!(
            out,
            "### From a start to the first answer\n\n{} keys, values of 100 bytes. The time is that from starting the process \
             to the reply to a `GET`; memory is what the process takes of the machine's, before there is any key, with all of \
             them, and after that start.\n",
            size.keys
        );
        out.push_str(
            "| Server | Start to first answer | Bytes of memory per key | Memory after it |\n|---|---:|---:|---:|\n",
        );
        let key = "key:1";
        for (name, file, rewrite) in [("Redis, RDB file", "rdb", "SAVE"), ("Redis, AOF", "aof", "")] {
            let dir = self.folder(&all, file)?;
            let aof = if file == "aof" { "yes" } else { "no" };
            let persistence = ["--appendonly", aof, "--appendfsync", "no", "--auto-aof-rewrite-percentage", "0"];
            let mut up = self.redis(&dir, &persistence)?;
            up.is_up()?;
            let before = up.resident()?;
            fill(&up, size.keys, 100)?;
            let per_key = (up.resident()? - before) / size.keys;
            if !rewrite.is_empty() {
                Line::open(up.address, up.token)?.ask(&[rewrite])?;
            }
            drop(up);
            let since = Instant::now();
            let mut up = self.redis(&dir, &persistence)?;
            let took = up.answered(since, key)?;
            row(out, name, took, per_key, up.resident()?);
        }
        let dir = all.path().join("dormouse");
        let plenty = ["--memory", "16GiB", "--durability", "none"];
        let mut up = self.dormouse(&dir, &plenty)?;
        up.is_up()?;
        let before = up.resident()?;
        fill(&up, size.keys, 100)?;
        let per_key = (up.resident()? - before) / size.keys;
        drop(up);
        let since = Instant::now();
        let mut up = self.dormouse(&dir, &plenty)?;
        let took = up.answered(since, key)?;
        row(out, "Dormouse, after `kill -9`", took, per_key, up.resident()?);
        up.stop()?;
        let since = Instant::now();
        let mut up = self.dormouse(&dir, &plenty)?;
        let took = up.answered(since, key)?;
        row(out, "Dormouse, after a stop", took, per_key, up.resident()?);
        Ok(())
    }

    fn larger(&self, size: Size, out: &mut String) -> anyhow::Result<()> {
        let all = tempfile::tempdir_in(self.scratch)?;
        let data_mib = (size.large * 1_000) >> 20;
        let _ = writeln!(
            out,
            "\n### A database larger than memory\n\n{} keys, values of 1,000 bytes: {data_mib} MiB. All are set once, then read by \
             Zipf's law by {THREADS} connections with {DEPTH} commands in flight each. Memory is the most the process took at any time.\n",
            size.large
        );
        out.push_str(
            "| Server | SETs/s | Memory while writing | GETs/s | Memory while reading | Found in memory |\n|---|---:|---:|---:|---:|---:|\n",
        );
        let bound = format!("{}MiB", size.bound_mib);
        let ours =
            |memory: &str| ["--memory".to_owned(), memory.to_owned(), "--durability".to_owned(), "none".to_owned()];
        for (name, up) in [
            ("Redis, all in memory".to_owned(), self.redis(&self.folder(&all, "redis")?, &["--appendonly", "no"])?),
            ("Dormouse, all in memory".to_owned(), self.dormouse(&all.path().join("plenty"), &args(&ours("16GiB")))?),
            (
                format!("Dormouse, `--memory {bound}`"),
                self.dormouse(&all.path().join("bounded"), &args(&ours(&bound)))?,
            ),
        ] {
            let mut up = up;
            up.is_up()?;
            let begun = Instant::now();
            let writing = fill(&up, size.large, 1_000)?;
            let sets = size.large as f64 / begun.elapsed().as_secs_f64();
            read(&up, size.large, size.seconds)?;
            let loads = || -> anyhow::Result<u64> {
                let info = Line::open(up.address, up.token)?.text(&["INFO", "stats"])?;
                let found = info.lines().find_map(|line| line.strip_prefix("keyspace_loads:"));
                Ok(found.map_or(Ok(0), str::parse)?)
            };
            let before = loads()?;
            let (gets, reading) = read(&up, size.large, size.seconds)?;
            let misses = (loads()? - before) as f64 / (gets * size.seconds as f64);
            let found = 100.0 * (1.0 - misses);
            let (writing, reading) = (mib(writing), mib(reading));
            let _ = writeln!(out, "| {name} | {sets:.0} | {writing} | {gets:.0} | {reading} | {found:.1} % |");
        }
        Ok(())
    }

    fn idle(&self, size: Size, out: &mut String) -> anyhow::Result<()> {
        let all = tempfile::tempdir_in(self.scratch)?;
        let _ = writeln!(
            out,
            "\n### Databases that nobody uses\n\n{} databases of 100 keys each, all asleep, in one process; beside a redis-server with \
             100 keys, of which each database would need one.\n",
            size.databases
        );
        out.push_str("| Server | Memory | For each database |\n|---|---:|---:|\n");
        let mut redis = self.redis(&self.folder(&all, "redis")?, &["--appendonly", "no"])?;
        redis.is_up()?;
        fill(&redis, 100, 50)?;
        let resident = redis.resident()?;
        let _ = writeln!(out, "| one redis-server | {} | {} kB |", mib(resident), resident >> 10);
        drop(redis);
        let dir = all.path().join("dormouse");
        let sleepy = ["--sleep-after", "2s", "--durability", "none"];
        let mut up = self.dormouse(&dir, &sleepy)?;
        up.is_up()?;
        let empty = up.resident()?;
        for number in 0..size.databases {
            let made = Command::new(self.dormouse)
                .args(["db", "create", &format!("db{number}"), "--json", "--data"])
                .arg(&dir)
                .output()?;
            let text = String::from_utf8(made.stdout)?;
            let token = text.split_once("\"rest_token\":").and_then(|(_, rest)| rest.split('"').nth(1));
            let token =
                token.with_context(|| format!("no token in {text}{}", String::from_utf8_lossy(&made.stderr)))?;
            let mut line = Line::open(up.address, false)?;
            line.ask(&["AUTH", token])?;
            for key in 0..100 {
                line.ask(&["SET", &format!("key:{key}"), &"v".repeat(50)])?;
            }
        }
        // Asleep, and what they took given back.
        std::thread::sleep(Duration::from_secs(10));
        let asleep = up.resident()?;
        let each = asleep.saturating_sub(empty) as f64 / size.databases as f64 / 1024.0;
        let _ = writeln!(out, "| Dormouse, empty | {} | |", mib(empty));
        let _ = writeln!(out, "| Dormouse, with all of them | {} | {each:.1} kB |", mib(asleep));
        Ok(())
    }

    fn stalls(&self, size: Size, out: &mut String) -> anyhow::Result<()> {
        let all = tempfile::tempdir_in(self.scratch)?;
        let _ = writeln!(
            out,
            "\n### What checkpoints do to latency\n\n`SET` of 1,000 bytes, {} a second, on keys by Zipf's law, durability `none`. Once \
             no checkpoint is due, once there is one after every 4 MiB of log.\n",
            PACE * THREADS
        );
        out.push_str("| Checkpoints | p50 | p99.9 |\n|---|---:|---:|\n");
        for (name, bytes) in [("none", "1GiB"), ("all the time", "4MiB")] {
            let dir = all.path().join(name.replace(' ', "-"));
            let mut up =
                self.dormouse(&dir, &["--checkpoint-bytes", bytes, "--memory", "4GiB", "--durability", "none"])?;
            up.is_up()?;
            let (middle, slow) = paced(&up, size.keys, 2 * size.seconds)?;
            let _ = writeln!(out, "| {name} | {:.2} ms | {:.2} ms |", ms(middle), ms(slow));
        }
        Ok(())
    }
}

fn args(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

fn row(out: &mut String, name: &str, took: Duration, per_key: u64, resident: u64) {
    let _ = writeln!(out, "| {name} | {:.0} ms | {per_key} | {} |", ms(took), mib(resident));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_keys_are_read_most_of_the_time() {
        let mut zipf = Zipf { keys: 1_000_000, state: 7 };
        let mut counts = std::collections::HashMap::new();
        for _ in 0..100_000 {
            *counts.entry(zipf.next()).or_insert(0_u32) += 1;
        }
        let mut most: Vec<u32> = counts.into_values().collect();
        most.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        let top: u32 = most.iter().take(1_000).sum();
        assert!((45_000..55_000).contains(&top), "{top}: half of it by a thousandth of the keys");
    }
}
