# SPDX-License-Identifier: EUPL-1.2
# shellcheck shell=bash
# The server as it is deployed and measured: compiled with a profile of its own work (profile-guided optimisation), so that the compiler lays out
# what is hot and leaves small what is not. The profile is taken once per machine and set of crates (see profile_name), from the benchmark's own
# loads. It stays good while the sources change: a function that it does not know as it is now is compiled as without it. To take it anew,
# delete it.
#
#   build_guided             # builds, and exports VISTO_BIN

VISTO_PROFILES="$VISTO_CACHE/visto-profiles"

build_guided() {
  local target profile
  target="$(rustc -vV | sed -n 's/^host: //p')"
  profile="$VISTO_PROFILES/$(profile_name)"
  mkdir -p "$VISTO_PROFILES"
  # One at a time takes a profile; whoever waited finds it.
  exec 9>"$VISTO_PROFILES/lock"
  if ! flock --nonblock 9; then
    say "waiting for another run that takes a profile"
    flock 9
  fi
  [ -f "$profile.profdata" ] || take_profile "$target" "$profile"
  exec 9>&-
  say "building the server for release, guided by a profile of $(cat "$profile.from" 2>/dev/null || printf 'before'): some minutes, at first a quarter of an hour"
  # Functions that no load reaches are not in the profile, and those that changed since are not in it as they are now.
  with_patience "building the server" "$CARGO_TARGET_DIR/release-build.log" build_server "$target" "$CARGO_TARGET_DIR" \
    "'-Cprofile-use=$profile.profdata', '-Cllvm-args=-pgo-warn-missing-function=false -no-pgo-warn-mismatch'"
  export VISTO_BIN="$CARGO_TARGET_DIR/$target/release/visto"
}

# What the names of functions depend on, by which a profile knows them: the compiler, the versions of all crates, their features and how they
# are compiled.
profile_name() {
  (
    cd "$VISTO_ROOT"
    rustc -vV
    cat Cargo.lock .cargo/config.toml Cargo.toml ledger/Cargo.toml cluster/Cargo.toml api/*/Cargo.toml
  ) | sha256sum | cut -c 1-16
}

# build_server TARGET FOLDER FLAGS. With a target named, the flags are the server's alone: what runs while it is built (build scripts, macros) is
# left as it is. Flags in the environment would take the place of all others.
build_server() {
  env -C "$VISTO_ROOT" -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS cargo build --release --locked --quiet \
    --target "$1" --target-dir "$2" --config "target.$1.rustflags=[$3]" -p server --bin visto 9>&-
}

# What is built here stays until the profile is there: a run that is broken off goes on from it.
take_profile() {
  local target="$1" profile="$2" folder="$VISTO_CACHE/visto-profile-build" merger
  merger="$(profile_merger "$target")"
  rm -rf "$folder/raw"
  mkdir -p "$folder/raw"
  say "building a server that counts its own work: a quarter of an hour on two cores, once per machine and set of crates"
  with_patience "building the counting server" "$folder/build.log" build_server "$target" "$folder/target" "'-Cprofile-generate=$folder/raw'"
  say "building its load"
  with_patience "building its load" "$folder/load.log" env -C "$VISTO_ROOT" \
    cargo build --release --locked --quiet -p loader --bin visto-load -p tests --bin bench 9>&-
  with_patience "working for the profile" "$folder/work.log" env -C "$VISTO_ROOT" \
    VISTO_BIN="$folder/target/$target/release/visto" VISTO_LOAD_BIN="$CARGO_TARGET_DIR/release/visto-load" TMPDIR="${TMPDIR:-/var/tmp}" \
    LLVM_PROFILE_FILE="$folder/raw/%p.profraw" \
    "$CARGO_TARGET_DIR/release/bench" --quick --peers none --rounds 1 --entries 20000 --charts "$folder/charts" 9>&-
  # Of a server that had to be killed the file may be cut short: the others' do.
  "$merger" merge --failure-mode=all --output "$profile.new" "$folder"/raw/*.profraw
  git -C "$VISTO_ROOT" log -1 --format='%h (%cs)' >"$profile.from" || true
  # Renamed into place last: a run that is cut off here leaves no half profile that the next one would believe.
  mv "$profile.new" "$profile.profdata"
  rm -rf "$folder"
}

# The compiler's own llvm-profdata: another version's cannot read what its programs write.
profile_merger() {
  local merger
  merger="$(rustc --print sysroot)/lib/rustlib/$1/bin/llvm-profdata"
  if [ ! -x "$merger" ] && command -v rustup >/dev/null; then
    (cd "$VISTO_ROOT" && rustup component add llvm-tools >&2) || true
  fi
  [ -x "$merger" ] || die "llvm-profdata of this Rust is missing ($merger): it comes with rustup's component llvm-tools"
  printf '%s' "$merger"
}
