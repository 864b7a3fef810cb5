//! `INFO`: what the server says of itself, in Redis's sections and fields.
//!
//! Everything printed here is a fact handed in through the hub, or a count that somebody keeps anyway. Fields whose machinery
//! is not here (replication, snapshots, defragmentation) say what an idle Redis says, because dashboards and test suites look
//! for them. Counts are those of one database, but for the process's own memory and time. Clients decide by `redis_version`
//! what they may send, so it names the Redis we are compatible with, and `dormouse_version` names us.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use std::fmt::{Display, Write as _};

use dormouse_proto::{Args, Blob, Reply};

use crate::args::is;
use crate::hub::{Condition, MEMORY_BASE};
use crate::table::places;
use crate::txn::{Outcome, Txn};
use crate::types::config;
use crate::types::server::REDIS_VERSION;

/// Lines of one section.
struct Lines<'a>(&'a mut String);

impl Lines<'_> {
    fn put(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    fn all(&mut self, names: &[&str], value: impl Display) {
        for name in names {
            self.put(name, &value);
        }
    }

    /// A number of bytes, and the same as people write it.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.put(name, bytes);
        self.put(&format!("{name}_human"), human(bytes));
    }
}

/// One section: its heading, and its lines.
struct Section {
    name: &'static str,
    lines: fn(&mut Txn<'_>, &mut Lines<'_>),
    /// Whether it is left out unless everything, or it, is asked for.
    is_extra: bool,
}

const fn section(name: &'static str, lines: fn(&mut Txn<'_>, &mut Lines<'_>)) -> Section {
    Section { name, lines, is_extra: false }
}

const fn extra(name: &'static str, lines: fn(&mut Txn<'_>, &mut Lines<'_>)) -> Section {
    Section { name, lines, is_extra: true }
}

/// The sections in the order they are printed, whatever the order they were asked in.
const SECTIONS: &[Section] = &[
    section("Server", server),
    section("Clients", clients),
    section("Memory", memory),
    section("Persistence", persistence),
    section("Stats", stats),
    section("Replication", replication),
    section("CPU", cpu),
    section("Modules", |_, _| ()),
    extra("Commandstats", command_stats),
    section("Errorstats", error_stats),
    extra("Latencystats", latency_stats),
    section("Cluster", |_, lines| lines.put("cluster_enabled", 0)),
    section("Keyspace", keyspace),
    section("Keysizes", key_sizes),
];

pub(super) fn info(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let asked = &args[1..];
    let everything = asked.iter().any(|word| is(word, "all") || is(word, "everything"));
    let usual = asked.is_empty() || asked.iter().any(|word| is(word, "default"));
    let mut text = String::new();
    for section in SECTIONS {
        let wanted = everything || usual && !section.is_extra || asked.iter().any(|word| is(word, section.name));
        if wanted {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {}\r\n", section.name);
            (section.lines)(txn, &mut Lines(&mut text));
        }
    }
    Ok(Reply::Verbatim(Blob::from(text.as_bytes())))
}

fn server(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    let moment = txn.moment();
    let hub = txn.hub();
    let hertz = config::value(hub, "hz");
    let facts = &hub.facts;
    let uptime = moment.now_ms().saturating_sub(facts.started_ms) / 1_000;
    lines.put("redis_version", REDIS_VERSION);
    lines.put("dormouse_version", facts.version);
    lines.put("redis_git_sha1", "00000000");
    lines.put("redis_git_dirty", 0);
    lines.put("redis_build_id", 0);
    lines.put("redis_mode", "standalone");
    lines.put("os", format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    lines.put("arch_bits", usize::BITS);
    lines.put("process_id", facts.process_id);
    lines.put("process_supervised", "no");
    lines.put("run_id", &facts.run_id);
    lines.put("tcp_port", facts.tcp_port);
    lines.put("server_time_usec", moment.now_us);
    lines.put("uptime_in_seconds", uptime);
    lines.put("uptime_in_days", uptime / 86_400);
    lines.all(&["hz", "configured_hz"], hertz);
    // Of Redis's clock there are 24 bits.
    lines.put("lru_clock", (moment.now_ms() / 1_000) & 0xff_ffff);
    lines.put("executable", "");
    lines.put("config_file", "");
    lines.put("io_threads_active", 0);
}

fn clients(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    let hub = txn.hub();
    let (blocked, keys, gone) = hub.waits();
    let (watching, watched) = hub.watches();
    lines.put("connected_clients", hub.clients.len());
    lines.put("cluster_connections", 0);
    lines.put("maxclients", config::value(hub, "maxclients"));
    lines.all(&["client_recent_max_input_buffer", "client_recent_max_output_buffer"], 0);
    lines.put("blocked_clients", blocked);
    lines.put("tracking_clients", hub.tracking.clients());
    lines.put("pubsub_clients", hub.clients.values().filter(|client| client.subscriptions() > 0).count());
    lines.put("watching_clients", watching);
    lines.put("clients_in_timeout_table", 0);
    lines.put("total_watched_keys", watched);
    lines.put("total_blocking_keys", keys);
    lines.put("total_blocking_keys_on_nokey", gone);
}

fn memory(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    let dataset = txn.space().memory_bytes() as u64;
    let libraries = txn
        .libraries()
        .map_or((0, 0, 0), |libraries| (libraries.len(), libraries.functions(), libraries.bytes() as u64));
    let hub = txn.hub();
    let used = MEMORY_BASE + dataset;
    let resident = hub.facts.resident_bytes.map_or(0, |resident_bytes| resident_bytes());
    hub.peak_bytes = hub.peak_bytes.max(used);
    lines.bytes("used_memory", used);
    lines.bytes("used_memory_rss", resident);
    lines.bytes("used_memory_peak", hub.peak_bytes);
    lines.put("used_memory_peak_perc", format_args!("{:.2}%", used as f64 * 100.0 / hub.peak_bytes as f64));
    lines.all(&["used_memory_overhead", "used_memory_startup"], MEMORY_BASE);
    lines.put("used_memory_dataset", dataset);
    lines.put("used_memory_dataset_perc", format_args!("{:.2}%", dataset as f64 * 100.0 / used as f64));
    lines.bytes("total_system_memory", hub.facts.machine_bytes);
    lines.all(&["used_memory_lua", "used_memory_vm_eval"], 0);
    lines.put("used_memory_lua_human", human(0));
    lines.put("used_memory_scripts_eval", 0);
    lines.put("number_of_cached_scripts", hub.scripts());
    lines.put("number_of_functions", libraries.1);
    lines.put("number_of_libraries", libraries.0);
    lines.put("used_memory_vm_functions", libraries.2);
    lines.bytes("used_memory_vm_total", libraries.2);
    lines.put("used_memory_functions", libraries.2);
    lines.bytes("used_memory_scripts", 0);
    lines.bytes("maxmemory", hub.settings.maxmemory);
    lines.put("maxmemory_policy", config::value(hub, "maxmemory-policy"));
    lines.put("dormouse_cache_bytes_max", hub.facts.memory_bytes_max);
    lines.put("mem_fragmentation_ratio", format_args!("{:.2}", resident as f64 / used as f64));
    lines.put("mem_fragmentation_bytes", i128::from(resident) - i128::from(used));
    lines.all(
        &[
            "mem_not_counted_for_evict",
            "mem_replication_backlog",
            "mem_total_replication_buffers",
            "mem_clients_slaves",
            "mem_clients_normal",
            "mem_cluster_links",
            "mem_aof_buffer",
        ],
        0,
    );
    lines.put("mem_allocator", "mimalloc");
    lines.all(&["active_defrag_running", "lazyfree_pending_objects"], 0);
    lines.put("lazyfreed_objects", hub.facts.freed_lazily);
}

/// A size as people read it: `1.50M`.
fn human(bytes: u64) -> String {
    let units = [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    let unit = units.into_iter().find(|(size, _)| bytes >= *size);
    unit.map_or_else(|| format!("{bytes}B"), |(size, letter)| format!("{:.2}{letter}", bytes as f64 / size as f64))
}

const fn status(failed: bool) -> &'static str {
    if failed { "err" } else { "ok" }
}

fn persistence(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    let facts = &txn.hub().facts;
    let disk = facts.health.as_ref().map_or_else(Condition::default, |health| (health.0)());
    let saved_s = if disk.checkpointed_s == 0 { facts.started_ms / 1_000 } else { disk.checkpointed_s };
    lines.all(&["loading", "async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"], 0);
    lines.put("current_fork_perc", "0.00");
    lines.all(&["current_save_keys_processed", "current_save_keys_total"], 0);
    lines.put("rdb_changes_since_last_save", facts.changes);
    lines.put("rdb_bgsave_in_progress", 0);
    lines.put("rdb_last_save_time", saved_s);
    lines.put("rdb_last_bgsave_status", status(disk.checkpoint_failed));
    lines.all(&["rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec"], -1);
    lines.put("rdb_saves", disk.checkpoints);
    lines.all(&["rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"], 0);
    lines.put("aof_enabled", 1);
    lines.all(&["aof_rewrite_in_progress", "aof_rewrite_scheduled"], 0);
    lines.all(&["aof_last_rewrite_time_sec", "aof_current_rewrite_time_sec"], -1);
    lines.put("aof_last_bgrewrite_status", status(disk.checkpoint_failed));
    lines.all(&["aof_rewrites", "aof_rewrites_consecutive_failures"], 0);
    lines.put("aof_last_write_status", status(disk.log_failed));
    let backed_up = if disk.backups == 0 && !disk.backup_failed { "none" } else { status(disk.backup_failed) };
    lines.put("dormouse_last_backup_status", backed_up);
    lines.put("dormouse_last_backup_time", disk.backed_up_s);
    lines.put("dormouse_backups", disk.backups);
    lines.all(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"], 0);
}

fn stats(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    let loads = txn.space().loads();
    let hub = txn.hub();
    let carried = hub.clients.values().map(|client| client.traffic.bytes());
    let (received, sent) = carried.fold(hub.gone_bytes, |sum, bytes| (sum.0 + bytes.0, sum.1 + bytes.1));
    let facts = &hub.facts;
    lines.put("total_connections_received", facts.connections);
    lines.put("total_commands_processed", facts.commands);
    lines.put("instantaneous_ops_per_sec", 0);
    lines.put("total_net_input_bytes", received);
    lines.put("total_net_output_bytes", sent);
    lines.all(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"], 0);
    lines.all(&["instantaneous_input_kbps", "instantaneous_output_kbps"], "0.00");
    lines.all(&["instantaneous_input_repl_kbps", "instantaneous_output_repl_kbps"], "0.00");
    lines.all(&["rejected_connections", "sync_full", "sync_partial_ok", "sync_partial_err"], 0);
    lines.put("expired_subkeys", facts.expired_fields);
    lines.put("expired_keys", facts.expired);
    lines.put("expired_stale_perc", "0.00");
    lines.all(
        &["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds", "evicted_keys", "evicted_clients"],
        0,
    );
    lines.put("evicted_scripts", hub.evicted_scripts);
    lines.all(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"], 0);
    lines.put("keyspace_hits", facts.hits);
    lines.put("keyspace_misses", facts.misses);
    lines.put("keyspace_loads", loads);
    lines.put("pubsub_channels", hub.channels().count());
    lines.put("pubsub_patterns", hub.patterns());
    lines.put("pubsubshard_channels", hub.shard_channels().count());
    lines.all(&["latest_fork_usec", "total_forks", "migrate_cached_sockets"], 0);
    lines.all(&["slave_expires_tracked_keys", "active_defrag_hits", "active_defrag_misses"], 0);
    lines.all(&["active_defrag_key_hits", "active_defrag_key_misses"], 0);
    lines.all(&["total_active_defrag_time", "current_active_defrag_time"], 0);
    lines.put("tracking_total_keys", hub.tracking.keys());
    lines.put("tracking_total_items", hub.tracking.items());
    lines.put("tracking_total_prefixes", hub.tracking.prefixes());
    lines.put("unexpected_error_replies", 0);
    lines.put("total_error_replies", hub.stats.error_replies);
    lines.put("dump_payload_sanitizations", 0);
    lines.all(&["total_reads_processed", "total_writes_processed"], facts.commands);
    lines.all(&["io_threaded_reads_processed", "io_threaded_writes_processed"], 0);
    lines.all(&["client_query_buffer_limit_disconnections", "client_output_buffer_limit_disconnections"], 0);
    lines.all(&["reply_buffer_shrinks", "reply_buffer_expands"], 0);
    lines.put("eventloop_cycles", facts.commands);
    let spent: u64 = hub.stats.used().map(|(_, stats)| stats.took_us).sum();
    lines.all(&["eventloop_duration_sum", "eventloop_duration_cmd_sum"], spent);
    lines.all(&["instantaneous_eventloop_cycles_per_sec", "instantaneous_eventloop_duration_usec"], 0);
    lines.put("acl_access_denied_auth", facts.denied.auth);
    lines.put("acl_access_denied_cmd", facts.denied.command);
    lines.put("acl_access_denied_key", facts.denied.key);
    lines.put("acl_access_denied_channel", facts.denied.channel);
}

fn replication(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    lines.put("role", "master");
    lines.put("connected_slaves", 0);
    if txn.hub().settings.replicas_min > 0 {
        lines.put("min_slaves_good_slaves", 0);
    }
    lines.put("master_failover_state", "no-failover");
    lines.put("master_replid", &txn.hub().facts.run_id);
    lines.put("master_replid2", "0000000000000000000000000000000000000000");
    lines.put("master_repl_offset", 0);
    lines.put("second_repl_offset", -1);
    lines.all(
        &["repl_backlog_active", "repl_backlog_size", "repl_backlog_first_byte_offset", "repl_backlog_histlen"],
        0,
    );
}

fn cpu(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    let (user, system) = txn.hub().facts.cpu_us.map_or((0, 0), |cpu_us| cpu_us());
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    lines.put("used_cpu_sys", seconds(system));
    lines.put("used_cpu_user", seconds(user));
    lines.all(&["used_cpu_sys_children", "used_cpu_user_children"], "0.000000");
}

fn command_stats(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    for (at, stats) in txn.hub().stats.used() {
        let Some(place) = places().get(at) else { continue };
        let each = if stats.calls == 0 { 0.0 } else { stats.took_us as f64 / stats.calls as f64 };
        lines.put(
            &format!("cmdstat_{}", place.name()),
            format_args!(
                "calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                stats.calls, stats.took_us, stats.rejected, stats.failed
            ),
        );
    }
}

fn error_stats(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    for (code, count) in &txn.hub().stats.errors {
        lines.put(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

fn latency_stats(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    let hub = txn.hub();
    for (at, stats) in hub.stats.used().filter(|(_, stats)| !stats.spans.is_empty()) {
        let Some(place) = places().get(at) else { continue };
        let percentiles = hub.settings.percentiles.iter();
        let each = percentiles.map(|&percent| format!("p{percent}={:.3}", stats.spans.percentile(percent)));
        let each = each.collect::<Vec<_>>().join(",");
        lines.put(&format!("latency_percentiles_usec_{}", place.name()), each);
    }
}

fn keyspace(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    txn.sees_all();
    let now_ms = txn.now_ms();
    let space = txn.space();
    if !space.is_empty() {
        lines.put(
            "db0",
            format_args!(
                "keys={},expires={},avg_ttl={},subexpiry={}",
                space.len(),
                space.with_deadline(),
                space.mean_life_ms(now_ms),
                space.with_parts_deadline()
            ),
        );
    }
}

/// How long the values in memory are, by powers of two.
fn key_sizes(txn: &mut Txn<'_>, lines: &mut Lines<'_>) {
    let names = ["strings_sizes", "lists_items", "sets_items", "zsets_items", "hashes_items"];
    let sizes = txn.space().sizes();
    for (kind, name) in names.into_iter().enumerate() {
        let bins: Vec<String> = sizes.of(kind).map(|(least, count)| format!("{}={count}", bin(least))).collect();
        if !bins.is_empty() {
            lines.put(&format!("db0_distrib_{name}"), bins.join(","));
        }
    }
}

/// A power of two as Redis writes it: `512`, `1K`, `2M`.
fn bin(least: u64) -> String {
    let units = [(1 << 60, 'E'), (1 << 50, 'P'), (1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    let unit = units.into_iter().find(|(size, _)| least >= *size);
    unit.map_or_else(|| least.to_string(), |(size, letter)| format!("{}{letter}", least / size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn text(reply: &Reply) -> String {
        match reply {
            Reply::Verbatim(text) => String::from_utf8(text.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn headings(bench: &mut Bench, line: &str) -> String {
        let text = text(&bench.run(line));
        text.lines().filter_map(|line| line.strip_prefix("# ")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn info_prints_the_sections_asked_for() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        bench.run("SET dying v EX 10");
        let all = text(&bench.run("INFO"));
        for line in [
            "redis_version:8.2.0",
            "redis_mode:standalone",
            "maxmemory:0",
            "maxmemory_policy:noeviction",
            "role:master",
            "cluster_enabled:0",
            "blocked_clients:0",
            "rdb_changes_since_last_save:2",
            "db0:keys=2,expires=1,avg_ttl=10000,subexpiry=0",
            "db0_distrib_strings_sizes:1=2",
        ] {
            assert!(all.split("\r\n").any(|other| other == line), "{line} is not in {all}");
        }
        let usual =
            "Server Clients Memory Persistence Stats Replication CPU Modules Errorstats Cluster Keyspace Keysizes";
        assert_eq!(headings(&mut bench, "INFO default"), usual);
        let everything = usual.replace("Errorstats", "Commandstats Errorstats Latencystats");
        for line in ["INFO ALL", "INFO nope everything"] {
            assert_eq!(headings(&mut bench, line), everything);
        }
        assert_eq!(headings(&mut bench, "INFO commandstats cpu"), "CPU Commandstats");
        assert_eq!(text(&bench.run("INFO nope")), "");
    }

    #[test]
    fn sizes_follow_their_values() {
        let mut bench = Bench::new();
        let sizes = |bench: &mut Bench| text(&bench.run("INFO keysizes")).replace("\r\n", " ");
        assert_eq!(sizes(&mut bench), "# Keysizes ");
        bench.run("RPUSH l a b c");
        bench.run("SADD s a");
        bench.run("APPEND k 12345678");
        assert_eq!(
            sizes(&mut bench),
            "# Keysizes db0_distrib_strings_sizes:8=1 db0_distrib_lists_items:2=1 db0_distrib_sets_items:1=1 "
        );
        bench.run("RPUSH l d");
        bench.run("SREM s a");
        bench.run("RENAME l m");
        assert_eq!(sizes(&mut bench), "# Keysizes db0_distrib_strings_sizes:8=1 db0_distrib_lists_items:4=1 ");
        bench.run("FLUSHALL");
        assert_eq!(sizes(&mut bench), "# Keysizes ");
        assert_eq!([bin(0), bin(512), bin(1024), bin(2 << 20)], ["0", "512", "1K", "2M"]);
    }

    #[test]
    fn commands_and_errors_are_counted() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        bench.run("CONFIG RESETSTAT");
        bench.run("LPUSH k a");
        bench.run("GET k");
        let all = text(&bench.run("INFO all"));
        assert!(all.contains("cmdstat_config|resetstat:calls=1,"));
        // The bench runs each command twice, and forgets the first time of those that tell.
        assert!(
            all.contains("cmdstat_get:calls=2,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0\r\n"),
            "{all}"
        );
        assert!(all.contains("cmdstat_lpush:calls=2,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=2\r\n"));
        assert!(all.contains("errorstat_WRONGTYPE:count=2\r\n") && all.contains("total_error_replies:2\r\n"));
        assert!(all.contains("latency_percentiles_usec_get:p50=1.031,p99=1.031,p99.9=1.031\r\n"));
    }

    #[test]
    fn counters_go_back_to_zero() {
        let mut bench = Bench::new();
        bench.run("GET missing");
        assert!(text(&bench.run("INFO stats")).contains("keyspace_misses:1"));
        assert_eq!(bench.run("CONFIG RESETSTAT"), Reply::OK);
        assert!(text(&bench.run("INFO stats")).contains("keyspace_misses:0"));
    }
}
