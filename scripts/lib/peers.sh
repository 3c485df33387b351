# SPDX-License-Identifier: EUPL-1.2
# shellcheck shell=bash
# The servers that Visto is measured beside, from Debian. None of them is left running, and none starts at the next boot.

# etcd: unpacked beside the tools and not installed, since the package would start a service.
need_etcd() {
  VISTO_ETCD="$(command -v etcd || true)"
  if [ -z "$VISTO_ETCD" ]; then
    local folder="$VISTO_TOOLS/etcd"
    VISTO_ETCD="$folder/usr/bin/etcd"
    if [ ! -x "$VISTO_ETCD" ]; then
      command -v apt-get >/dev/null || die "missing: etcd. Install it with your system's package manager; only Debian is done for you."
      say "fetching etcd (Debian's etcd-server)"
      rm -rf "$folder.new"
      mkdir -p "$folder.new"
      (cd "$folder.new" && fetch_package etcd-server && dpkg -x ./*.deb . && rm ./*.deb)
      rm -rf "$folder"
      mv "$folder.new" "$folder"
    fi
  fi
  export VISTO_ETCD
}

# PostgreSQL 15, or what this Debian has instead. Installed, since it needs a user of its own; without the cluster that Debian would make and start.
need_postgres() {
  if ! find_postgres; then
    local settings=/etc/postgresql-common/createcluster.d/visto-bench.conf
    as_root mkdir -p "$(dirname "$settings")"
    echo "create_main_cluster = false" | as_root tee "$settings" >/dev/null
    apt-cache show postgresql-15 >/dev/null 2>&1 || as_root apt-get update -qq
    if apt-cache show postgresql-15 >/dev/null 2>&1; then
      install_packages postgresql-15
    else
      install_packages postgresql
    fi
    as_root rm -f "$settings"
    find_postgres || die "PostgreSQL is installed, but its programs are not where Debian puts them"
  fi
  export VISTO_POSTGRES_BIN
}

find_postgres() {
  local folder
  for folder in /usr/lib/postgresql/15/bin /usr/lib/postgresql/*/bin; do
    if [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ]; then
      VISTO_POSTGRES_BIN="$folder"
      return 0
    fi
  done
  return 1
}

# The package's file, in this folder; the lists are fetched once if it is not in them.
fetch_package() {
  apt-get download -qq "$1" 2>/dev/null && return
  as_root apt-get update -qq
  apt-get download -qq "$1"
}
