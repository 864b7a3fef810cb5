//! Redis's parameters, one row each: what a value of it looks like, and what it is unless somebody sets it.
//!
//! Names, kinds, bounds and defaults are those of Redis 8.2, but where another value is true here (`appendonly`, `databases`).
//! Which of them act is in `settings.rs`; the others are checked as Redis checks them, remembered, and shown again. A row
//! says nothing of what a parameter is for: `docs/differences.md` lists those that act.

use super::kinds::{
    Check, events, host_name, locale, no_password, output_limits, percentiles, power_of_two, save_points,
    three_integers, title,
};

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// `yes` or `no`.
    Switch,
    /// An integer between bounds.
    Number(i64, i64),
    /// An integer of at least 0, between bounds.
    Natural(u64, u64),
    /// Bytes, with a unit if it likes, between bounds.
    Memory(u64, u64),
    /// Bytes, or a part of all memory.
    MemoryOrPercent,
    /// One of several words.
    Word(&'static [&'static str]),
    /// Any of several words.
    Words(&'static [&'static str]),
    /// Whatever is given.
    Text,
    /// Something of its own.
    Special(Check),
}

/// One parameter.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a parameter")]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// An older name of the same.
    pub(super) alias: Option<&'static str>,
    pub(super) form: Form,
    pub(super) default: &'static str,
    /// Not to be changed while the server runs.
    pub(super) is_fixed: bool,
    /// Not to be changed unless the operator has allowed that, which nobody can here.
    pub(super) is_protected: bool,
    /// What the server listens to, which stays as it is.
    pub(super) is_bound: bool,
    /// Shown only to who asks for it by name.
    pub(super) is_hidden: bool,
}

const fn parameter(name: &'static str, form: Form, default: &'static str) -> Parameter {
    Parameter {
        name,
        alias: None,
        form,
        default,
        is_fixed: false,
        is_protected: false,
        is_bound: false,
        is_hidden: false,
    }
}

impl Parameter {
    const fn also(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn fixed(mut self) -> Self {
        self.is_fixed = true;
        self
    }

    const fn protected(mut self) -> Self {
        self.is_protected = true;
        self
    }

    const fn bound(mut self) -> Self {
        self.is_bound = true;
        self
    }

    const fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }
}

use Form::{Memory, MemoryOrPercent, Natural, Number, Special, Switch, Text, Word, Words};

/// The largest of C's `int`, `long long` and their kin.
const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const SIZE: u64 = i64::MAX as u64;

/// Every parameter, by name.
#[rustfmt::skip]
pub(super) static PARAMETERS: &[Parameter] = &[
    parameter("acl-pubsub-default", Word(&["allchannels", "resetchannels"]), "resetchannels"),
    parameter("aclfile", Text, "").fixed(),
    parameter("acllog-max-len", Number(0, LONG), "128"),
    parameter("active-defrag-cycle-max", Number(1, 99), "25"),
    parameter("active-defrag-cycle-min", Number(1, 99), "1"),
    parameter("active-defrag-ignore-bytes", Memory(0, SIZE), "104857600"),
    parameter("active-defrag-max-scan-fields", Number(1, LONG), "1000"),
    parameter("active-defrag-threshold-lower", Number(0, 1_000), "10"),
    parameter("active-defrag-threshold-upper", Number(0, 1_000), "100"),
    parameter("active-expire-effort", Number(1, 10), "1"),
    parameter("activedefrag", Switch, "no"),
    parameter("activerehashing", Switch, "yes"),
    parameter("always-show-logo", Switch, "no").fixed(),
    parameter("aof-load-truncated", Switch, "yes"),
    parameter("aof-rewrite-cpulist", Text, "").fixed().also("aof_rewrite_cpulist"),
    parameter("aof-rewrite-incremental-fsync", Switch, "yes"),
    parameter("aof-timestamp-enabled", Switch, "no"),
    parameter("aof-use-rdb-preamble", Switch, "yes"),
    parameter("appenddirname", Text, "appendonlydir").fixed(),
    parameter("appendfilename", Text, "appendonly.aof").fixed(),
    parameter("appendfsync", Word(&["everysec", "always", "no"]), "everysec"),
    parameter("appendonly", Switch, "yes"),
    parameter("array-slice-size", Special(power_of_two), "4096"),
    parameter("array-sparse-kmax", Number(1, 65_536), "10"),
    parameter("array-sparse-kmin", Number(1, 65_536), "5"),
    parameter("auto-aof-rewrite-min-size", Memory(0, SIZE), "67108864"),
    parameter("auto-aof-rewrite-percentage", Number(0, INT), "100"),
    parameter("bgsave-cpulist", Text, "").fixed().also("bgsave_cpulist"),
    parameter("bind", Text, "").bound(),
    parameter("bind-source-addr", Text, ""),
    parameter("bio-cpulist", Text, "").fixed().also("bio_cpulist"),
    parameter("busy-reply-threshold", Number(0, LONG), "5000").also("lua-time-limit"),
    parameter("client-output-buffer-limit", Special(output_limits), "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
    parameter("client-query-buffer-limit", Memory(1 << 20, SIZE), "1073741824"),
    parameter("cluster-allow-pubsubshard-when-down", Switch, "yes"),
    parameter("cluster-allow-reads-when-down", Switch, "no"),
    parameter("cluster-allow-replica-migration", Switch, "yes"),
    parameter("cluster-announce-bus-port", Number(0, 65_535), "0"),
    parameter("cluster-announce-hostname", Special(host_name), ""),
    parameter("cluster-announce-human-nodename", Text, ""),
    parameter("cluster-announce-ip", Text, ""),
    parameter("cluster-announce-port", Number(0, 65_535), "0"),
    parameter("cluster-announce-tls-port", Number(0, 65_535), "0"),
    parameter("cluster-compatibility-sample-ratio", Number(0, 100), "0"),
    parameter("cluster-config-file", Text, "nodes.conf").fixed(),
    parameter("cluster-enabled", Switch, "no").fixed(),
    parameter("cluster-link-sendbuf-limit", Memory(0, SIZE), "0"),
    parameter("cluster-migration-barrier", Number(0, INT), "1"),
    parameter("cluster-node-timeout", Number(0, LONG), "15000"),
    parameter("cluster-port", Text, "0").fixed(),
    parameter("cluster-preferred-endpoint-type", Word(&["ip", "hostname", "unknown-endpoint"]), "ip"),
    parameter("cluster-replica-no-failover", Switch, "no").also("cluster-slave-no-failover"),
    parameter("cluster-replica-validity-factor", Number(0, INT), "10").also("cluster-slave-validity-factor"),
    parameter("cluster-require-full-coverage", Switch, "yes"),
    parameter("cluster-slot-stats-enabled", Switch, "no"),
    parameter("crash-log-enabled", Switch, "yes"),
    parameter("crash-memcheck-enabled", Switch, "yes"),
    parameter("daemonize", Switch, "no").fixed(),
    parameter("databases", Number(1, INT), "1").fixed(),
    parameter("dbfilename", Text, "dump.rdb").protected(),
    parameter("dir", Text, "").protected(),
    parameter("disable-thp", Switch, "yes").fixed(),
    parameter("dynamic-hz", Switch, "yes"),
    parameter("enable-debug-command", Word(&["no", "yes", "local"]), "no").fixed(),
    parameter("enable-module-command", Switch, "no").fixed(),
    parameter("enable-protected-configs", Switch, "no").fixed(),
    parameter("hash-max-listpack-entries", Natural(0, SIZE), "512").also("hash-max-ziplist-entries"),
    parameter("hash-max-listpack-value", Memory(0, SIZE), "64").also("hash-max-ziplist-value"),
    parameter("hide-user-data-from-log", Switch, "no"),
    parameter("hll-sparse-max-bytes", Memory(0, SIZE), "3000"),
    parameter("hz", Number(0, INT), "10"),
    parameter("ignore-warnings", Text, ""),
    parameter("io-threads", Text, "1").fixed(),
    parameter("jemalloc-bg-thread", Switch, "yes"),
    parameter("key-load-delay", Number(-INT - 1, INT), "0").hidden(),
    parameter("latency-monitor-threshold", Number(0, LONG), "0"),
    parameter("latency-tracking", Switch, "yes"),
    parameter("latency-tracking-info-percentiles", Special(percentiles), "50 99 99.9"),
    parameter("lazyexpire-nested-arbitrary-keys", Switch, "yes").hidden(),
    parameter("lazyfree-lazy-eviction", Switch, "no"),
    parameter("lazyfree-lazy-expire", Switch, "no"),
    parameter("lazyfree-lazy-server-del", Switch, "no"),
    parameter("lazyfree-lazy-user-del", Switch, "no"),
    parameter("lazyfree-lazy-user-flush", Switch, "no"),
    parameter("lfu-decay-time", Number(0, INT), "1"),
    parameter("lfu-log-factor", Number(0, INT), "10"),
    parameter("list-compress-depth", Number(0, INT), "0"),
    parameter("list-max-listpack-size", Number(-INT - 1, INT), "-2").also("list-max-ziplist-size"),
    parameter("locale-collate", Special(locale), ""),
    parameter("logfile", Text, ""),
    parameter("loglevel", Word(&["debug", "verbose", "notice", "warning", "nothing"]), "notice"),
    parameter("lua-enable-deprecated-api", Switch, "no").fixed().hidden(),
    parameter("masterauth", Text, ""),
    parameter("masteruser", Text, ""),
    parameter("max-new-connections-per-cycle", Natural(1, 1_000), "10"),
    parameter("max-new-tls-connections-per-cycle", Natural(1, 1_000), "1"),
    parameter("maxclients", Natural(1, 4_294_967_295), "20000"),
    parameter("maxmemory", Memory(0, SIZE), "0"),
    parameter("maxmemory-clients", MemoryOrPercent, "0"),
    parameter("maxmemory-eviction-tenacity", Number(0, 100), "10"),
    parameter("maxmemory-policy", Word(&["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "allkeys-lru", "allkeys-lfu", "allkeys-random", "noeviction"]), "noeviction"),
    parameter("maxmemory-samples", Number(1, 64), "5"),
    parameter("min-replicas-max-lag", Number(0, INT), "10").also("min-slaves-max-lag"),
    parameter("min-replicas-to-write", Number(0, INT), "0").also("min-slaves-to-write"),
    parameter("no-appendfsync-on-rewrite", Switch, "no"),
    parameter("notify-keyspace-events", Special(events), ""),
    parameter("oom-score-adj", Word(&["no", "yes", "relative", "absolute"]), "no"),
    parameter("oom-score-adj-values", Special(three_integers), "0 200 800"),
    parameter("pidfile", Text, "").fixed(),
    parameter("port", Number(0, 65_535), "6379").bound(),
    parameter("proc-title-template", Special(title), "{title} {listen-addr} {server-mode}"),
    parameter("propagation-error-behavior", Word(&["ignore", "panic", "panic-on-replicas"]), "ignore"),
    parameter("protected-mode", Switch, "no"),
    parameter("proto-max-bulk-len", Memory(1 << 20, SIZE), "536870912"),
    parameter("rdb-del-sync-files", Switch, "no"),
    parameter("rdb-key-save-delay", Number(-INT - 1, INT), "0").hidden(),
    parameter("rdb-save-incremental-fsync", Switch, "yes"),
    parameter("rdbchecksum", Switch, "yes").fixed(),
    parameter("rdbcompression", Switch, "yes"),
    parameter("repl-backlog-size", Memory(1, SIZE), "1048576"),
    parameter("repl-backlog-ttl", Number(0, LONG), "3600"),
    parameter("repl-disable-tcp-nodelay", Switch, "no"),
    parameter("repl-diskless-load", Word(&["disabled", "on-empty-db", "swapdb"]), "disabled"),
    parameter("repl-diskless-sync", Switch, "yes"),
    parameter("repl-diskless-sync-delay", Number(0, INT), "5"),
    parameter("repl-diskless-sync-max-replicas", Number(0, INT), "0"),
    parameter("repl-ping-replica-period", Number(1, INT), "10").also("repl-ping-slave-period"),
    parameter("repl-timeout", Number(1, INT), "60"),
    parameter("replica-announce-ip", Text, "").also("slave-announce-ip"),
    parameter("replica-announce-port", Number(0, 65_535), "0").also("slave-announce-port"),
    parameter("replica-announced", Switch, "yes"),
    parameter("replica-full-sync-buffer-limit", Memory(0, SIZE), "0"),
    parameter("replica-ignore-disk-write-errors", Switch, "no"),
    parameter("replica-ignore-maxmemory", Switch, "yes").also("slave-ignore-maxmemory"),
    parameter("replica-lazy-flush", Switch, "no").also("slave-lazy-flush"),
    parameter("replica-priority", Number(0, INT), "100").also("slave-priority"),
    parameter("replica-read-only", Switch, "yes").also("slave-read-only"),
    parameter("replica-serve-stale-data", Switch, "yes").also("slave-serve-stale-data"),
    parameter("replicaof", Text, "").fixed().also("slaveof"),
    parameter("requirepass", Special(no_password), ""),
    parameter("sanitize-dump-payload", Word(&["no", "yes", "clients"]), "no"),
    parameter("save", Special(save_points), ""),
    parameter("server-cpulist", Text, "").fixed().also("server_cpulist"),
    parameter("set-max-intset-entries", Natural(0, SIZE), "512"),
    parameter("set-max-listpack-entries", Natural(0, SIZE), "128"),
    parameter("set-max-listpack-value", Natural(0, SIZE), "64"),
    parameter("set-proc-title", Switch, "yes").fixed(),
    parameter("shutdown-on-sigint", Words(&["default", "save", "nosave", "now", "force"]), "default"),
    parameter("shutdown-on-sigterm", Words(&["default", "save", "nosave", "now", "force"]), "default"),
    parameter("shutdown-timeout", Number(0, INT), "10"),
    parameter("slowlog-log-slower-than", Number(-1, LONG), "10000"),
    parameter("slowlog-max-len", Number(0, LONG), "128"),
    parameter("socket-mark-id", Text, "0").fixed(),
    parameter("stop-writes-on-bgsave-error", Switch, "yes"),
    parameter("stream-idmp-duration", Number(1, 86_400), "100"),
    parameter("stream-idmp-maxsize", Number(1, 10_000), "100"),
    parameter("stream-node-max-bytes", Memory(0, SIZE), "4096"),
    parameter("stream-node-max-entries", Number(0, LONG), "100"),
    parameter("supervised", Switch, "no").fixed(),
    parameter("syslog-enabled", Switch, "no").fixed(),
    parameter("syslog-facility", Text, "local0").fixed(),
    parameter("syslog-ident", Text, "redis").fixed(),
    parameter("tcp-backlog", Text, "511").fixed(),
    parameter("tcp-keepalive", Number(0, INT), "300"),
    parameter("timeout", Number(0, INT), "0"),
    parameter("tls-auth-clients", Word(&["no", "yes", "optional"]), "yes"),
    parameter("tls-ca-cert-dir", Text, ""),
    parameter("tls-ca-cert-file", Text, ""),
    parameter("tls-cert-file", Text, ""),
    parameter("tls-ciphers", Text, ""),
    parameter("tls-ciphersuites", Text, ""),
    parameter("tls-client-cert-file", Text, ""),
    parameter("tls-client-key-file", Text, ""),
    parameter("tls-client-key-file-pass", Text, ""),
    parameter("tls-cluster", Switch, "no"),
    parameter("tls-dh-params-file", Text, ""),
    parameter("tls-key-file", Text, ""),
    parameter("tls-key-file-pass", Text, ""),
    parameter("tls-port", Number(0, 65_535), "0").bound(),
    parameter("tls-prefer-server-ciphers", Switch, "no"),
    parameter("tls-protocols", Text, ""),
    parameter("tls-replication", Switch, "no"),
    parameter("tls-session-cache-size", Number(0, INT), "20480"),
    parameter("tls-session-cache-timeout", Number(0, INT), "300"),
    parameter("tls-session-caching", Switch, "yes"),
    parameter("tracking-table-max-keys", Natural(0, SIZE), "1000000"),
    parameter("unixsocket", Text, "").fixed(),
    parameter("unixsocketperm", Text, "0").fixed(),
    parameter("vset-force-single-threaded-execution", Switch, "no"),
    parameter("zset-max-listpack-entries", Natural(0, SIZE), "128").also("zset-max-ziplist-entries"),
    parameter("zset-max-listpack-value", Memory(0, SIZE), "64").also("zset-max-ziplist-value"),
];
