#!/usr/bin/env bash
# Builds a filter of the workspace to dist/PACKAGE.wasm and installs the tools that this takes.
#
# Usage: wasm.sh PACKAGE [MAX_BYTES]
#
# With NAMES=1 the functions keep their names, for profiles: dist/PACKAGE-names.wasm.
#
# The compiler is rustup's with the target wasm32-wasip1, which is added where that is possible. Otherwise, or with
# TOLLGATE_DEBIAN_RUST=1, it is Debian's own Rust, which builds the standard library from source and downloads
# nothing but Debian's packages. Binaryen's wasm-opt then makes the module a seventh smaller and a little faster.
#
# Prints the size of the module and fails when it exceeds MAX_BYTES.
set -euo pipefail
cd "$(dirname "$0")/.."

package=${1:?usage: wasm.sh PACKAGE [MAX_BYTES]}
max_bytes=${2:-}
target=wasm32-wasip1
target_dir=${CARGO_TARGET_DIR:-target}
module=dist/$package${NAMES:+-names}.wasm
# The checksum of the compiler's output that $module was made from.
origin_file=${module%.wasm}.origin

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    echo "this command needs root: $*" >&2
    return 1
  fi
}

install_packages() {
  as_root apt-get update -qq >&2 &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >&2
}

has_target() {
  command -v rustc >/dev/null &&
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]
}

# Both set $built to the compiler's output.
build_with_rustup() {
  # rustc takes the last of several flags: this one overrides the profile.
  cargo rustc --release --locked --package "$package" --lib --target "$target" -- ${NAMES:+-C strip=none}
  built=$target_dir/$target/release/${package//-/_}.wasm
}

build_with_debian() {
  local packages=(rustc-web cargo-web rust-web-src lld-19 wasi-libc)
  dpkg --status "${packages[@]}" >/dev/null 2>&1 || install_packages "${packages[@]}"
  # A target directory of its own: with two toolchains in one, each build would start from nothing.
  target_dir=$target_dir/debian-rust
  env PATH="/usr/bin:$PATH" RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_DIR="$target_dir" \
    CARGO_TARGET_WASM32_WASIP1_LINKER=wasm-ld-19 \
    CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-C target-feature=+simd128 -C link-self-contained=no -L native=/usr/lib/wasm32-wasi -C link-arg=--allow-undefined" \
    /usr/bin/cargo build --release --locked --package "$package" --lib --target "$target" \
    -Z build-std=std,panic_abort
  built=$target_dir/$target/release/${package//-/_}.wasm
}

# Writes the optimized form of $built to the file $1.
#
# By default wasm-opt moves each function into its only caller, whatever its size: all of `proxy_on_configure` became one function
# of 50 kB. Envoy's V8 compiles a function in memory that is many times its size, and Envoy's allocator keeps that memory.
#
# The first kilobyte is the end of the stack, or is left free by the linker: nothing is there, and `--low-memory-unused` makes an
# addition before an access its offset.
optimize() {
  command -v wasm-opt >/dev/null || install_packages binaryen || true
  if command -v wasm-opt >/dev/null; then
    wasm-opt -O3 ${NAMES:+-g} --low-memory-unused --one-caller-inline-max-function-size 100 \
      --enable-simd --enable-bulk-memory --enable-sign-ext --enable-mutable-globals \
      --enable-nontrapping-float-to-int --enable-multivalue --enable-reference-types \
      "$built" --output "$1"
  else
    echo "wasm-opt is missing: the module is larger than it could be" >&2
    cp "$built" "$1"
  fi
}

megabytes() { awk -v bytes="$1" 'BEGIN { printf "%.2f MB", bytes / 1e6 }'; }

if [ -z "${TOLLGATE_DEBIAN_RUST:-}" ] && ! has_target && command -v rustup >/dev/null; then
  timeout 300 rustup target add "$target" >&2 || echo "rustup cannot add the target $target" >&2
fi
if [ -z "${TOLLGATE_DEBIAN_RUST:-}" ] && has_target; then
  build_with_rustup
else
  build_with_debian
fi

mkdir -p dist
origin=$(sha256sum <"$built")
state="up to date"
if [ ! -f "$module" ] || [ "$(cat "$origin_file" 2>/dev/null)" != "$origin" ]; then
  state="built"
  # Moved into place, so that an Envoy never loads half a module.
  optimize "$module.new"
  mv "$module.new" "$module"
  echo "$origin" >"$origin_file"
fi

size=$(stat -c %s "$module")
echo "$module: $state, $(megabytes "$size")${max_bytes:+ (at most $(megabytes "$max_bytes"))}"
if [ -n "$max_bytes" ] && [ "$size" -gt "$max_bytes" ]; then
  echo "$module: $size bytes, expected at most $max_bytes bytes" >&2
  exit 1
fi
