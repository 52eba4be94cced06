# What the fault tests share: private servers in $var that go at the end, and questions to PostgreSQL. Sourced after
# $root is set; BIN is the folder of the programs.
. "$root/ops/lib/common.sh"
. "$root/ops/lib/servers.sh"
. "$root/ops/lib/meridian.sh"
bin=${BIN:-$root/build/release/bin}

sql() {
    owner_psql -d meridian -At -c "$1"
}

is_one() {
    [ "$(sql "$1")" = t ]
}

fault_clean_up() {
    status=$?
    [ "$status" -eq 0 ] || tail -n 30 "$var"/log/*.log >&2 || true
    meridian_stop >&2 || true
    servers_stop >&2 || true
    rm -rf "$var" "$work_dir"
    exit "$status"
}

# A migrated database and a Redis, both private.
fault_open() {
    common_init
    var=$(mktemp -d /var/tmp/meridian-fault.XXXXXX)
    trap fault_clean_up EXIT
    export MERIDIAN_REDIS_PORT=$((20000 + RANDOM % 10000)) MERIDIAN_PG_PORT=$((30000 + RANDOM % 2000))
    servers_init
    redis_start
    postgres_start
    meridian_migrate >/dev/null
}

# The first child of the supervisor: its only slot's runner.
runner_of() {
    local children
    read -r children _ <"/proc/$1/task/$1/children" || true # no newline at its end
    [ -n "$children" ] && echo "$children"
}
