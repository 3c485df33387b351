# SPDX-License-Identifier: EUPL-1.2
# shellcheck shell=bash
# Sourced by the entry points in scripts/: where things are kept, and how to get a bare Debian machine ready to build.
#
#   source "$(dirname "$0")/lib/common.sh"
#   prepare_build            # system packages, Rust, RocksDB; then plain cargo works
#
# Everything that is slow to make is kept under $VISTO_CACHE, outside the clone, so that the next clone finds it:
#   visto-target/   what cargo builds          visto-rocksdb/   RocksDB as a static library
#   visto-tools/    linters and API testers, one folder per tool and version
#   visto-profiles/ profiles that the released server is compiled with (see guided.sh)

set -euo pipefail

VISTO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
# Both absolute: cargo compiles crates in folders of their own.
VISTO_CACHE="${VISTO_CACHE:-${HOME:-/root}/.cache}"
mkdir -p "$VISTO_CACHE"
VISTO_CACHE="$(cd "$VISTO_CACHE" && pwd)"
VISTO_TOOLS="$VISTO_CACHE/visto-tools"
CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$VISTO_CACHE/visto-target}"
mkdir -p "$VISTO_TOOLS" "$CARGO_TARGET_DIR"
CARGO_TARGET_DIR="$(cd "$CARGO_TARGET_DIR" && pwd)"
export CARGO_TARGET_DIR

# Progress goes to stderr: stdout belongs to whatever a script is asked to print.
say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() {
  printf '\033[1;31merror:\033[0m %s\n' "$*" >&2
  exit 1
}

# Runs a long command with its output in a file, and prints a sign of life every half minute; the output is shown if it fails.
# Usage: with_patience "what is being done" LOGFILE command args…
with_patience() {
  local what="$1" log="$2" started=$SECONDS pid
  shift 2
  # In a group of its own, so that whoever breaks this off ends all of it.
  set -m
  "$@" >"$log" 2>&1 </dev/null &
  pid=$!
  set +m
  # shellcheck disable=SC2064 # the pid is that of now
  trap "kill -TERM -- -$pid 2>/dev/null || true; exit 130" INT TERM HUP
  local next=30
  while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    if [ $((SECONDS - started)) -ge $next ]; then
      printf '    %s: %d min %02d s so far\n' "$what" $((next / 60)) $((next % 60)) >&2
      next=$((next + 30))
    fi
  done
  trap - INT TERM HUP
  if ! wait "$pid"; then
    tail -n 40 "$log" >&2
    die "$what failed; the whole output is in $log"
  fi
}

# shellcheck source=scripts/lib/packages.sh
source "$VISTO_ROOT/scripts/lib/packages.sh"
# shellcheck source=scripts/lib/rocksdb.sh
source "$VISTO_ROOT/scripts/lib/rocksdb.sh"

# All that `cargo build` needs here. Does nothing but a few look-ups on a machine that is ready.
prepare_build() {
  need_build_packages
  need_rust
  need_rocksdb
}
