#!/usr/bin/env bash
# Builds the image that Istio loads the module from: an OCI layout in a tar file. Needs no container engine.
#
# Usage: image.sh [MODULE [IMAGE]]
#
# The image has one layer, which contains the module as plugin.wasm: the variant "compat" of the WebAssembly image
# specification, which build/Dockerfile produces as well. The build is reproducible: equal modules make equal images.
set -euo pipefail
cd "$(dirname "$0")/.."

module=${1:-dist/tollgate.wasm}
image=${2:-dist/tollgate-image.tar}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
layout=$(mktemp -d)
trap 'rm -r "$layout"' EXIT

# Writes a tar archive of files in the folder $1 to stdout, without their owners and times.
pack() {
  tar --create --directory "$1" --format ustar --sort name --owner 0 --group 0 --numeric-owner --mtime @0 "${@:2}"
}

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

# Moves the file $1 into the layout's blobs and prints the digest and size fields of its descriptor.
blob() {
  local hash size
  hash=$(digest "$1")
  size=$(stat -c %s "$1")
  mv "$1" "$layout/blobs/sha256/$hash"
  printf '"digest":"sha256:%s","size":%s' "$hash" "$size"
}

mkdir -p "$layout/blobs/sha256" "$layout/root"
cp "$module" "$layout/root/plugin.wasm"
chmod 644 "$layout/root/plugin.wasm"
pack "$layout/root" plugin.wasm >"$layout/layer"
rm -r "$layout/root"
content=$(digest "$layout/layer")
gzip -9 --no-name "$layout/layer"
layer=$(blob "$layout/layer.gz")

printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
  "$content" >"$layout/config"
config=$(blob "$layout/config")

printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s",%s},"layers":[{"mediaType":"%s",%s}],"annotations":{"%s":"compat"}}' \
  application/vnd.oci.image.manifest.v1+json \
  application/vnd.oci.image.config.v1+json "$config" \
  application/vnd.oci.image.layer.v1.tar+gzip "$layer" \
  module.wasm.image/variant >"$layout/manifest"
manifest=$(blob "$layout/manifest")

printf '{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s",%s,"annotations":{"%s":"%s"}}]}' \
  application/vnd.oci.image.index.v1+json \
  application/vnd.oci.image.manifest.v1+json "$manifest" \
  org.opencontainers.image.ref.name "$version" >"$layout/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"

pack "$layout" blobs index.json oci-layout >"$image.new"
mv "$image.new" "$image"
echo "$image: tollgate $version, $(stat -c %s "$image") bytes"
