# SPDX-License-Identifier: EUPL-1.2
# shellcheck shell=bash
# RocksDB is compiled once per machine and version (some ten minutes on two cores), not once per clone: the static library is kept
# in the cache and later builds link it (ROCKSDB_LIB_DIR, which the crate librocksdb-sys reads).

VISTO_ROCKSDB="$VISTO_CACHE/visto-rocksdb"

# What the library is compiled with beyond the crate's own: checksums of every block by the processor's own instruction, which each
# x86-64 server since 2010 has. The crate looks at Rust's target features for them and finds none in a portable build.
rocksdb_flags() {
  if [ "$(uname -m)" = x86_64 ]; then printf '%s' '-msse4.2 -mpclmul'; fi
}

# Version of librocksdb-sys in the lock file, such as 0.19.0+11.8.1, which names RocksDB's version too; the compressions that it is compiled
# with, which the lock file names as crates; and the flags.
rocksdb_version() {
  local version
  version="$(awk '
    /^name = "librocksdb-sys"$/ { found = 1; next }
    found && /^version = / { gsub(/"/, "", $3); version = $3 }
    found && /^ "(lz4|zstd)-sys"/ { gsub(/[",]|-sys/, ""); with = with " " $1 }
    found && /^$/ { print version with; exit }
  ' "$VISTO_ROOT/Cargo.lock")"
  [ -z "$version" ] || printf '%s %s' "$version" "$(rocksdb_flags)"
}

# Sets ROCKSDB_LIB_DIR and ROCKSDB_STATIC; builds and keeps the library first if this version is not in the cache.
need_rocksdb() {
  local version kept
  version="$(rocksdb_version)"
  [ -n "$version" ] || die "Cargo.lock names no librocksdb-sys"
  kept="$(cat "$VISTO_ROCKSDB/version" 2>/dev/null || true)"
  # A library without a version beside it was put there by hand: believed, and marked.
  if [ -f "$VISTO_ROCKSDB/librocksdb.a" ] && [ -z "$kept" ]; then
    printf '%s\n' "$version" >"$VISTO_ROCKSDB/version"
    kept="$version"
  fi
  if [ ! -f "$VISTO_ROCKSDB/librocksdb.a" ] || [ "$kept" != "$version" ]; then
    build_rocksdb "$version"
  fi
  export ROCKSDB_LIB_DIR="$VISTO_ROCKSDB" ROCKSDB_STATIC=1
}

build_rocksdb() {
  local version="$1" target="$VISTO_CACHE/visto-rocksdb-build" built
  say "compiling RocksDB ($version): some ten minutes on two cores, once per machine"
  mkdir -p "$VISTO_ROCKSDB" "$target"
  unset ROCKSDB_LIB_DIR ROCKSDB_STATIC
  with_patience "compiling RocksDB" "$target/build.log" \
    env CARGO_TARGET_DIR="$target" CXXFLAGS="$(rocksdb_flags)" cargo build --manifest-path "$VISTO_ROOT/Cargo.toml" --locked -p librocksdb-sys
  built="$(find "$target" -name librocksdb.a -path '*/out/*' -print -quit)"
  [ -n "$built" ] || die "cargo built librocksdb-sys but left no librocksdb.a under $target"
  # Renamed into place last: a run that is cut off here leaves no half library that the next one would believe.
  cp "$built" "$VISTO_ROCKSDB/librocksdb.a.new"
  mv "$VISTO_ROCKSDB/librocksdb.a.new" "$VISTO_ROCKSDB/librocksdb.a"
  printf '%s\n' "$version" >"$VISTO_ROCKSDB/version"
  rm -rf "$target"
}
