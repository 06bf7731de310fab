# Shortcuts. `./test` is the one test command and needs no just.

# Everything that a change must pass.
test:
    ./test

# The same with more histories, kills and fuzzing.
nightly:
    ./test nightly

# cargo test alone, without servers.
fast:
    ./test fast

# A small origin on loopback, fetched through a cache: run it twice.
quickstart:
    cargo run --release --example quickstart

# One fuzz target with libFuzzer: `just fuzz open_bytes 300`. Needs cargo-fuzz and the nightly toolchain.
fuzz target="record_decode" seconds="60":
    mkdir -p fuzz/corpus/{{target}}
    cargo +nightly fuzz run {{target}} fuzz/corpus/{{target}} fuzz/seeds/{{target}} -- -max_total_time={{seconds}}

# Licences, advisories, sources. Needs cargo-deny, and the network for the advisories.
deny:
    cargo deny --locked check

# larder's engine and its peers on the same work: `just bench --scale 0.1 --engines larder,raw,lmdb`.
bench *args:
    cargo run --release --manifest-path benches/Cargo.toml -- {{args}}

# What a hit costs in larder and in other caching clients: `just compare --no-python`.
compare *args:
    cargo run --release --manifest-path benches/compare/Cargo.toml -- {{args}}
