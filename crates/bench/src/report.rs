//! The report: Markdown tables, written between two markers so that the words around them stay.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, bail};

use crate::load::{Measured, Outcome, Plan};
use crate::machine::Machine;
use crate::scenario::Section;
use crate::wire::{KEYS, VALUE_BYTES};

/// What the load's tables stand between.
const RESULTS: Markers = ("<!-- results: begin (written by `cargo xtask bench`) -->", "<!-- results: end -->");
/// And those of memory and waking.
const MEMORY: Markers = ("<!-- memory: begin (written by `cargo xtask bench --memory`) -->", "<!-- memory: end -->");
/// A machine of which others use so much is no place to measure throughput.
const BUSY: f64 = 0.1;

type Markers = (&'static str, &'static str);

pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) plan: Plan,
    pub(crate) results: Vec<Outcome>,
}

impl Report {
    pub(crate) fn markdown(&self) -> String {
        let mut out = self.conditions();
        for section in Section::ALL {
            let outcomes: Vec<&Outcome> =
                self.results.iter().filter(|outcome| outcome.scenario.section == section).collect();
            if !outcomes.is_empty() {
                table(section, &outcomes, &mut out);
            }
        }
        out
    }

    fn conditions(&self) -> String {
        let plan = format!(
            "webdis with 2 threads. {} rounds of {:.0} s for each contestant, taking turns; medians. {KEYS} keys, values of \
             {VALUE_BYTES} bytes",
            self.plan.rounds,
            self.plan.round.as_secs_f64(),
        );
        conditions(&self.machine, &plan)
    }

    /// Replaces what stands between the markers.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_between(path, RESULTS, &self.markdown())
    }
}

/// Where and when it was measured, and how.
fn conditions(machine: &Machine, plan: &str) -> String {
    let Machine { cores, processor, kernel, date, redis, busy } = machine;
    let mut out = format!(
        "Measured on {date}: {cores} cores ({processor}), {kernel}, Redis {redis}; others used {:.0} % of the cores just before. \
         {plan}.\n",
        busy * 100.0,
    );
    if *busy > BUSY {
        out.push_str(
            "\n**The machine was busy with other work:** commands per second and latencies say little, ratios of \
             processor time say more.\n",
        );
    }
    out
}

/// The tables of memory and waking with what they were measured on, and where they belong.
pub(crate) fn memory(machine: &Machine, tables: &str) -> String {
    format!("{}\n{tables}", conditions(machine, "One server at a time, once each"))
}

pub(crate) fn write_memory(path: &Path, text: &str) -> anyhow::Result<()> {
    write_between(path, MEMORY, text)
}

fn write_between(path: &Path, markers: Markers, text: &str) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let page = splice(&page, markers, text).with_context(|| path.display().to_string())?;
    std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn splice(page: &str, (begin, end): Markers, results: &str) -> anyhow::Result<String> {
    let (Some(from), Some(until)) = (page.find(begin), page.find(end)) else { bail!("the markers are missing") };
    Ok(format!("{}\n\n{results}\n{}", &page[..from + begin.len()], &page[until..]))
}

fn table(section: Section, outcomes: &[&Outcome], out: &mut String) {
    let _ = write!(out, "\n### {}\n\n{}\n\n", section.title(), section.about());
    out.push_str(
        "| Load | Server | Commands/s | × rival | p50 ms | p99 ms | Processor µs per command | × rival |\n\
         |---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for outcome in outcomes {
        let load = format!("{}, {}", outcome.scenario.op.name(), connections(outcome.scenario.connections));
        let rival = outcome.medians.last().copied().unwrap_or_default();
        for (contestant, measured) in outcome.scenario.contestants.iter().zip(&outcome.medians) {
            row(&load, contestant.name(), *measured, contestant.is_ours().then_some(rival), out);
        }
    }
}

fn connections(count: usize) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

fn row(load: &str, name: &str, measured: Measured, rival: Option<Measured>, out: &mut String) {
    let ratio = |ours: f64, theirs: fn(&Measured) -> f64| {
        rival.map_or_else(String::new, |rival| format!("{:.2}", ours / theirs(&rival)))
    };
    let _ = writeln!(
        out,
        "| {load} | {name} | {:.0} | {} | {:.2} | {:.2} | {:.2} | {} |",
        measured.commands_per_second,
        ratio(measured.commands_per_second, |rival| rival.commands_per_second),
        measured.p50_us / 1e3,
        measured.p99_us / 1e3,
        measured.processor_us,
        ratio(measured.processor_us, |rival| rival.processor_us),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let (begin, end) = RESULTS;
        let page = format!("before\n{begin}\nold\n{end}\nafter\n");
        let page = splice(&page, RESULTS, "new").unwrap();
        assert_eq!(page, format!("before\n{begin}\n\nnew\n{end}\nafter\n"));
        assert_eq!(splice(&page, RESULTS, "new").unwrap(), page);
        assert!(splice(&page, MEMORY, "new").is_err());
    }

    #[test]
    fn a_rival_is_not_compared_with_itself() {
        let measured = Measured { commands_per_second: 200.0, p50_us: 100.0, p99_us: 1000.0, processor_us: 5.0 };
        let mut out = String::new();
        row(
            "GET",
            "a",
            measured,
            Some(Measured { commands_per_second: 100.0, processor_us: 10.0, ..measured }),
            &mut out,
        );
        row("GET", "b", measured, None, &mut out);
        assert_eq!(
            out,
            "| GET | a | 200 | 2.00 | 0.10 | 1.00 | 5.00 | 0.50 |\n| GET | b | 200 |  | 0.10 | 1.00 | 5.00 |  |\n"
        );
    }
}
