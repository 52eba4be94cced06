# For shell scripts of tests: a PostgreSQL of our own. Source it, then:
#     pg_private_start            sets PGHOST, PGUSER, PGDATABASE, private_pg_dir; stops at exit
#     pg_private_migrate DB       makes the database from sql/ with psql, as "meridian migrate" does
# MERIDIAN_TEST_PG_BIN names other binaries than the newest installed; MERIDIAN_TEST_KEEP=1 keeps it.

private_pg_bin=${MERIDIAN_TEST_PG_BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)}
private_pg_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
private_pg_as=()

pg_private_stop() {
    if [ "${MERIDIAN_TEST_KEEP:-0}" = 1 ]; then
        echo "kept: psql -h $private_pg_dir -U meridian; $private_pg_bin/pg_ctl -D $private_pg_dir/data stop" >&2
        return
    fi
    "${private_pg_as[@]}" "$private_pg_bin/pg_ctl" -D "$private_pg_dir/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$private_pg_dir"
}

pg_private_start() {
    local user=postgres
    private_pg_dir=$(mktemp -d)
    chmod 755 "$private_pg_dir"
    if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses to run as root
        id -u postgres >/dev/null 2>&1 || user=nobody
        chown "$user" "$private_pg_dir"
        private_pg_as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
    fi
    trap pg_private_stop EXIT
    cd "$private_pg_dir"
    "${private_pg_as[@]}" "$private_pg_bin/initdb" -D "$private_pg_dir/data" -A trust -U meridian \
        -E UTF8 --locale=C >"$private_pg_dir/initdb.log"
    # Only durability is off, which a read does not notice; memory is left at PostgreSQL's defaults.
    "${private_pg_as[@]}" "$private_pg_bin/pg_ctl" -D "$private_pg_dir/data" -l "$private_pg_dir/log" -w -o \
        "-c listen_addresses= -c unix_socket_directories=$private_pg_dir -c fsync=off -c max_wal_size=8GB" \
        start >/dev/null
    export PGHOST=$private_pg_dir PGUSER=meridian PGDATABASE=meridian
    export PGOPTIONS='-c client_min_messages=warning'
}

pg_private_migrate() {
    local sql=$private_pg_root/sql
    "$private_pg_bin/createdb" "$1"
    {
        echo "CREATE SCHEMA meridian; CREATE TABLE meridian.migration (number integer PRIMARY KEY,
          name text NOT NULL, sha256 bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),
          by text NOT NULL DEFAULT current_user);"
        cat "$sql"/migrations/*.sql "$sql/reset.sql" "$sql"/functions/*.sql "$sql"/reports/*.sql \
            "$sql/comments.sql" "$sql/roles.sql"
    } | psql -qX -v ON_ERROR_STOP=1 --single-transaction "$1"
}
