//! What is measured: which load, and who takes part.

use crate::contestant::Contestant::{
    self, DormouseResp, DormouseRespNone, DormouseRest, DormouseRestNone, Redis, RedisAlways, Webdis,
};
use crate::wire::Op;

/// A load, and the contestants that get it. The last one is the rival that the others are compared with.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) section: Section,
    pub(crate) op: Op,
    pub(crate) connections: usize,
    /// Commands that travel together.
    pub(crate) depth: usize,
    pub(crate) contestants: &'static [Contestant],
}

/// A table of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Http,
    HttpPipeline,
    Resp,
    RespPipeline,
    Strict,
}

impl Section {
    pub(crate) const ALL: [Self; 5] = [Self::Http, Self::HttpPipeline, Self::Resp, Self::RespPipeline, Self::Strict];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::HttpPipeline => "http-pipeline",
            Self::Resp => "resp",
            Self::RespPipeline => "resp-pipeline",
            Self::Strict => "strict",
        }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Http => "HTTP, one command per request",
            Self::HttpPipeline => "HTTP, 50 commands at a time",
            Self::Resp => "RESP, one command at a time",
            Self::RespPipeline => "RESP, 16 commands at a time",
            Self::Strict => "Durable writes",
        }
    }

    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Http => {
                "Values of 100 bytes. webdis keeps nothing; Dormouse is strict unless the row says `none`. Reads do not \
                 depend on it."
            }
            Self::HttpPipeline => {
                "Dormouse takes all 50 in one `/pipeline` request; webdis has no such thing and gets 50 requests, one after \
                 the other, on the same connection. Figures are per command; latency is that of the whole batch."
            }
            Self::Resp => "redis-server without persistence is the rival; `none` is the like for like.",
            Self::RespPipeline => "As above, with 16 commands in flight. Latency is that of the whole batch.",
            Self::Strict => {
                "Every write is on disk before it is acknowledged, on both sides: Dormouse as it comes, redis-server with \
                 `appendfsync always`."
            }
        }
    }
}

impl Scenario {
    pub(crate) fn name(&self) -> String {
        format!("{} {} c{}", self.section.name(), self.op.name(), self.connections)
    }
}

/// Everything there is to measure.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut add = |section, op, connections, depth, contestants| {
        all.push(Scenario { section, op, connections, depth, contestants });
    };
    for connections in [1, 16, 64, 256] {
        add(Section::Http, Op::Get, connections, 1, &[DormouseRest, Webdis][..]);
    }
    for connections in [1, 16, 64, 256] {
        add(Section::Http, Op::Set, connections, 1, &[DormouseRest, DormouseRestNone, Webdis]);
    }
    for connections in [1, 16] {
        add(Section::HttpPipeline, Op::Get, connections, 50, &[DormouseRest, Webdis]);
        add(Section::HttpPipeline, Op::Set, connections, 50, &[DormouseRest, DormouseRestNone, Webdis]);
    }
    for (section, depth) in [(Section::Resp, 1), (Section::RespPipeline, 16)] {
        add(section, Op::Get, 50, depth, &[DormouseResp, Redis]);
        add(section, Op::Set, 50, depth, &[DormouseResp, DormouseRespNone, Redis]);
    }
    for connections in [1, 16, 64] {
        add(Section::Strict, Op::Set, connections, 1, &[DormouseResp, DormouseRest, RedisAlways]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_exactly_one_rival_and_it_comes_last() {
        for scenario in scenarios() {
            let (rival, ours) = scenario.contestants.split_last().unwrap();
            assert!(!rival.is_ours() && ours.iter().all(|ours| ours.is_ours()), "{}", scenario.name());
        }
    }

    #[test]
    fn every_section_is_measured() {
        for section in Section::ALL {
            assert!(scenarios().iter().any(|scenario| scenario.section == section));
        }
    }
}
