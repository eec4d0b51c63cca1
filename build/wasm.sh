#!/usr/bin/env bash
# Builds the filter to dist/tollgate.wasm, installing what that takes.
#
# With rustup's wasm32-wasip1 where it is or can be added; else with Debian's own Rust and its
# sources of the standard library, which need no download beyond Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-wasip1
target_dir=${CARGO_TARGET_DIR:-target}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    echo "needed, and only root can do it: $*" >&2
    exit 1
  fi
}

has_target() {
  command -v rustc >/dev/null &&
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]
}

if ! has_target && command -v rustup >/dev/null; then
  timeout 300 rustup target add "$target" >&2 || echo "rustup cannot add $target" >&2
fi

if [ -z "${TOLLGATE_DEBIAN_RUST:-}" ] && has_target; then
  cargo build --release --locked --package tollgate --lib --target "$target"
  built=$target_dir/$target/release/tollgate.wasm
else
  packages="rustc-web cargo-web rust-web-src lld-19 wasi-libc"
  # shellcheck disable=SC2086 # a list of words
  if ! dpkg --status $packages >/dev/null 2>&1; then
    as_root apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages >&2
  fi
  # A target directory of its own: two toolchains in one would build everything anew each time.
  target_dir=$target_dir/debian-rust
  env PATH="/usr/bin:$PATH" RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_DIR="$target_dir" \
    CARGO_TARGET_WASM32_WASIP1_LINKER=wasm-ld-19 \
    CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C target-feature=+simd128 -C link-self-contained=no -L native=/usr/lib/wasm32-wasi -C link-arg=--allow-undefined" \
    /usr/bin/cargo build --release --locked --package tollgate --lib --target "$target" \
    -Z build-std=std,panic_abort
  built=$target_dir/$target/release/tollgate.wasm
fi

mkdir -p dist
# Written aside and moved, so that an Envoy never loads half a module.
cp "$built" dist/tollgate.wasm.new
mv dist/tollgate.wasm.new dist/tollgate.wasm
echo "dist/tollgate.wasm: $(stat -c %s dist/tollgate.wasm) bytes"
