# SPDX-License-Identifier: EUPL-1.2
# shellcheck shell=bash
# System packages from Debian and the Rust tool chain. Asks first what is there: a machine that is ready is not touched.

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root: $* (log in as root, or install sudo)"
  fi
}

# Installs the named Debian packages. The package lists are fetched once a run, and only if something is missing.
install_packages() {
  [ $# -gt 0 ] || return 0
  command -v apt-get >/dev/null || die "missing: $*. Install them with your system's package manager; only Debian is done for you."
  say "installing system packages: $*"
  if [ -z "${VISTO_APT_UPDATED:-}" ]; then
    as_root apt-get update -qq
    VISTO_APT_UPDATED=1
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# need_command COMMAND PACKAGE [COMMAND PACKAGE]…: what each command is missing is installed in one go.
need_command() {
  local missing=()
  while [ $# -gt 1 ]; do
    command -v "$1" >/dev/null || missing+=("$2")
    shift 2
  done
  install_packages "${missing[@]}"
}

# A C++ compiler and libclang: RocksDB's bindings are generated at build time. node and npm: so is the page of citizens' exports.
need_build_packages() {
  need_command cc gcc g++ g++ make make git git curl curl node nodejs npm npm
  # Not libclang*: libclang-cpp.so is another library, and often there without this one.
  if ! compgen -G '/usr/lib/llvm-*/lib/libclang.so*' >/dev/null && ! compgen -G '/usr/lib/llvm-*/lib/libclang-[0-9]*.so*' >/dev/null; then
    install_packages libclang-dev
  fi
  [ -e /etc/ssl/certs/ca-certificates.crt ] || install_packages ca-certificates
}

# cargo, at the version that rust-toolchain.toml names. Debian ships rustup from 13 on; older ones need it installed by hand.
need_rust() {
  if ! command -v cargo >/dev/null && [ -x "${HOME:-/root}/.cargo/bin/cargo" ]; then
    export PATH="${HOME:-/root}/.cargo/bin:$PATH"
  fi
  if ! command -v cargo >/dev/null; then
    install_packages rustup || true
    command -v cargo >/dev/null || die "cargo is missing and this Debian has no package rustup: install Rust from rustup.rs, then run this again"
  fi
  # Names the tool chain once, so that a version still to be fetched is fetched here and not in the middle of a test.
  (cd "$VISTO_ROOT" && rustc --version >/dev/null) || die "the Rust version that rust-toolchain.toml names cannot be had: see the message above"
}
