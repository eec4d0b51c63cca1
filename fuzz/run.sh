#!/bin/sh
# Fuzzes the targets named, or every one, for so many seconds each. What is found new goes to
# fuzz/found/, what fails to fuzz/artifacts/; the corpus in the tree is only read.
set -eu
cd "$(dirname "$0")"

seconds=${1:-10}
[ $# -eq 0 ] || shift
# The toolchain is chosen by name only where there is rustup to choose it.
if ! command -v rustup >/dev/null; then
    echo 'Fuzzing needs rustup, for a nightly compiler: https://rustup.rs' >&2
    exit 1
fi
if ! rustup run nightly rustc --version >/dev/null 2>&1; then
    echo 'Fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal' >&2
    exit 1
fi
if ! command -v "${CXX:-c++}" >/dev/null; then
    echo 'Fuzzing needs a C++ compiler, for libFuzzer and zstd: apt-get install g++' >&2
    exit 1
fi
export RUSTUP_TOOLCHAIN=nightly
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

[ $# -gt 0 ] || set -- $(cargo fuzz list --fuzz-dir .)
cargo fuzz build --fuzz-dir .
for target in "$@"; do
    echo "fuzzing $target for $seconds s"
    mkdir -p "found/$target"
    cargo fuzz run --fuzz-dir . "$target" "found/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_funcs=0 -verbosity=0 \
        -print_final_stats=1
done
