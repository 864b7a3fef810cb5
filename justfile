# What one types. What needs logic is in xtask/.

# Formatting, lints and the tests of the workspace: what to run before a commit.
check:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test --workspace

# Everything there is: setup, check, conformance on every door, differential runs, SDKs.
test *ARGS:
    cargo xtask test {{ARGS}}

# Write what is generated from the command table.
docs:
    cargo xtask docs

# Dormouse beside webdis and Redis; writes docs/benchmarks.md (--quick for a first look).
bench *ARGS:
    cargo xtask bench {{ARGS}}

# Fuzz targets, all or some, a minute each: just fuzz json_path, just fuzz --seconds 600.
fuzz *ARGS:
    cargo xtask fuzz {{ARGS}}

# The fuzz targets there are.
fuzz-list:
    ls fuzz/fuzz_targets

# Simulated lives on a disk that fails: just sim --seed 42, just sim --seeds 10000.
sim *ARGS:
    cargo run -p dormouse-sim -- {{ARGS}}
