# SPDX-License-Identifier: EUPL-1.2
# shellcheck shell=bash
# Tools of the gate, each installed by exact version into its own folder under $VISTO_TOOLS, never into the system.

CARGO_DENY_VERSION=0.20.2
SPECTRAL_VERSION=6.16.3
SCHEMATHESIS_VERSION=4.32.5

VISTO_CARGO_DENY="$VISTO_TOOLS/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny"
VISTO_SPECTRAL="$VISTO_TOOLS/spectral-$SPECTRAL_VERSION/node_modules/.bin/spectral"
VISTO_SCHEMATHESIS="$VISTO_TOOLS/schemathesis-$SCHEMATHESIS_VERSION/bin/schemathesis"

# Checks which crates may be built, under which licences, and from where. Advisories need a database that is fetched; not here.
need_cargo_deny() {
  [ -x "$VISTO_CARGO_DENY" ] && return
  say "compiling cargo-deny $CARGO_DENY_VERSION: some minutes, once per machine"
  local target="$VISTO_TOOLS/cargo-deny-build"
  mkdir -p "$target"
  with_patience "compiling cargo-deny" "$target/build.log" \
    env -u ROCKSDB_LIB_DIR CARGO_TARGET_DIR="$target" \
    cargo install cargo-deny --locked --version "$CARGO_DENY_VERSION" --root "$VISTO_TOOLS/cargo-deny-$CARGO_DENY_VERSION"
  rm -rf "$target"
}

# Without install scripts: one of the dependencies would report its installation to a stranger.
need_api_linter() {
  [ -x "$VISTO_SPECTRAL" ] && return
  need_command node nodejs npm npm
  say "installing spectral $SPECTRAL_VERSION"
  local folder="$VISTO_TOOLS/spectral-$SPECTRAL_VERSION"
  mkdir -p "$folder"
  (cd "$folder" && npm install --prefix . --ignore-scripts --no-audit --no-fund --silent "@stoplight/spectral-cli@$SPECTRAL_VERSION" >&2)
}

need_api_tester() {
  [ -x "$VISTO_SCHEMATHESIS" ] && return
  need_command python3 python3
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  say "installing schemathesis $SCHEMATHESIS_VERSION"
  local folder="$VISTO_TOOLS/schemathesis-$SCHEMATHESIS_VERSION"
  rm -rf "$folder"
  python3 -m venv "$folder"
  "$folder/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$SCHEMATHESIS_VERSION"
}

# 0 errors asked; warnings are shown and do not fail.
lint_api() {
  "$VISTO_SPECTRAL" lint --quiet --fail-severity error --ruleset "$VISTO_ROOT/scripts/api/spectral.yaml" "$VISTO_ROOT/api/server/openapi.json"
}
