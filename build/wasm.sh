#!/usr/bin/env bash
# Builds the filter to dist/tollgate.wasm, installing what that takes.
#
# What the compiler makes is made an eighth smaller, and a little faster, by Binaryen's wasm-opt.
# With rustup's wasm32-wasip1 where it is or can be added; else with Debian's own Rust and its
# sources of the standard library, which need no download beyond Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-wasip1
target_dir=${CARGO_TARGET_DIR:-target}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    echo "needed, and only root can do it: $*" >&2
    return 1
  fi
}

# Installs packages of Debian.
install() {
  as_root apt-get update -qq >&2 &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >&2
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
    install $packages
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
# Of what the module at hand was made.
origin=$(sha256sum <"$built")
if [ -f dist/tollgate.wasm ] && [ "$(cat dist/origin 2>/dev/null)" = "$origin" ]; then
  echo "dist/tollgate.wasm: up to date, $(stat -c %s dist/tollgate.wasm) bytes"
  exit
fi
if ! command -v wasm-opt >/dev/null; then
  install binaryen || echo "no wasm-opt: the module is larger than it has to be" >&2
fi
# Written aside and moved, so that an Envoy never loads half a module.
if command -v wasm-opt >/dev/null; then
  wasm-opt -O2 --enable-simd --enable-bulk-memory --enable-sign-ext --enable-mutable-globals \
    --enable-nontrapping-float-to-int --enable-multivalue --enable-reference-types \
    "$built" --output dist/tollgate.wasm.new
else
  cp "$built" dist/tollgate.wasm.new
fi
mv dist/tollgate.wasm.new dist/tollgate.wasm
echo "$origin" >dist/origin
echo "dist/tollgate.wasm: $(stat -c %s dist/tollgate.wasm) bytes"
