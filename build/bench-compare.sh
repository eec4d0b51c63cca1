#!/usr/bin/env bash
# Compares the cost of the filter with that of another commit, in one run: every round measures both modules.
#
# Usage: bench-compare.sh COMMIT [ARGUMENTS OF BENCH]
#
# The commit is checked out to target/compare/COMMIT and built there with its own build/wasm.sh. The column `× base` of
# the table has what this tree adds to an exchange as a multiple of what the commit adds.
set -euo pipefail
cd "$(dirname "$0")/.."

base=${1:?usage: bench-compare.sh COMMIT [ARGUMENTS OF BENCH]}
shift
commit=$(git rev-parse --verify --quiet "$base^{commit}") || {
  echo "BASE=$base: no such commit" >&2
  exit 1
}
target=${CARGO_TARGET_DIR:-$PWD/target}
tree=$target/compare/$commit
module=$tree/dist/tollgate.wasm
if [ ! -f "$module" ]; then
  mkdir -p "$tree"
  git archive "$commit" | tar --extract --directory "$tree"
  # One target directory for all commits: what they share is built once. A workspace below another one is its own.
  (cd "$tree" && CARGO_TARGET_DIR=$target/compare/target build/wasm.sh tollgate)
fi
exec cargo run --quiet --locked --profile native --package envoy-test --bin bench -- --base "$module" "$@"
