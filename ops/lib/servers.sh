# A private Redis and a private PostgreSQL in $var: own ports, own users and passwords, nothing of the host's.
# Sourced after common.sh with $var set.

servers_bin() {
    local dir
    for dir in /usr/lib/postgresql/*/bin; do
        [ ! -x "$dir/postgres" ] || pg_bin=$dir
    done
    [ -n "${pg_bin:-}" ] || die "PostgreSQL's programs are missing under /usr/lib/postgresql: install the package postgresql"
    redis_bin=$(command -v redis-server) || die "redis-server is missing: install the package redis-server"
}

# PostgreSQL refuses to run as root: as root it runs as an unprivileged user who must be able to reach $var.
servers_user() {
    if [ "$(id -u)" -ne 0 ]; then
        pg_run=()
        return 0
    fi
    local user=nobody
    ! getent passwd postgres >/dev/null || user=postgres
    pg_run=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --)
    "${pg_run[@]}" test -x "$var" || die "user $user cannot enter $var: make the folders above it passable (chmod o+x), or set MERIDIAN_VAR to a folder that is, such as /var/tmp/meridian"
    pg_user=$user
}

servers_init() {
    mkdir -p "$var/log" "$var/run"
    chmod 711 "$var" "$var/run"
    chmod 755 "$var/log"
    servers_bin
    servers_user
    if [ ! -s "$var/settings" ]; then
        (
            umask 077
            {
                echo "redis_port=$(port_choose "${MERIDIAN_REDIS_PORT:-17379}")"
                echo "pg_port=$(port_choose "${MERIDIAN_PG_PORT:-17432}")"
                for name in redis owner scheduler worker admin reporter; do
                    echo "${name}_password=$(random_word)"
                done
            } >"$var/settings"
        )
    fi
    # shellcheck disable=SC1091
    . "$var/settings"
    port_settle redis_port "$var/run/redis.pid"
    port_settle pg_port "$var/run/postgres.pid"
}

# port_settle SETTING PIDFILE: another port when somebody took ours while we were stopped.
port_settle() {
    local port
    if pid_is_ours "$2" || port_free "${!1}"; then
        return 0
    fi
    port=$(port_choose "$((${!1} + 1))")
    say "port ${!1} is taken by another program: using $port"
    sed -i "s/^$1=.*/$1=$port/" "$var/settings"
    printf -v "$1" '%s' "$port"
}

redis_start() {
    if ! pid_is_ours "$var/run/redis.pid"; then
        mkdir -p "$var/redis"
        (
            umask 077
            cat >"$var/redis.conf" <<CONF
port $redis_port
bind 127.0.0.1 ${servers_listen:-}
requirepass $redis_password
dir $var/redis
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
save ""
CONF
        )
        setsid "$redis_bin" "$var/redis.conf" >>"$var/log/redis.log" 2>&1 </dev/null &
        pid_write "$var/run/redis.pid" $!
        disown # one that is killed is waited for by its pid file
    fi
    wait_until 20 redis_answers || die "Redis did not start: see $var/log/redis.log"
}

redis_answers() {
    REDISCLI_AUTH=$redis_password redis-cli -p "$redis_port" ping | grep -q PONG
}

postgres_start() {
    if [ ! -s "$var/postgres/PG_VERSION" ]; then
        postgres_create
    fi
    if ! pid_is_ours "$var/run/postgres.pid"; then
        rm -f "$var/postgres/postmaster.pid" # of a server that was killed: ours is not running
        setsid "${pg_run[@]}" "$pg_bin/postgres" -D "$var/postgres" -c port="$pg_port" \
            -c listen_addresses="$(echo 127.0.0.1 ${servers_listen:-} | tr ' ' ,)" >>"$var/log/postgres.log" 2>&1 </dev/null &
        pid_write "$var/run/postgres.pid" $!
        disown
    fi
    wait_until 60 "$pg_bin/pg_isready" -q -h 127.0.0.1 -p "$pg_port" -U owner -d meridian ||
        die "PostgreSQL did not start: see $var/log/postgres.log"
    postgres_roles
}

postgres_create() {
    if [ ! -L "$var/postgres" ]; then # a link leads to another file system: it stays
        rm -rf "$var/postgres"
        mkdir -p "$var/postgres"
    fi
    chmod 700 "$var/postgres"
    [ -z "${pg_user:-}" ] || chown "$pg_user" "$var/postgres"
    local passfile=$var/run/password
    (umask 077 && echo "$owner_password" >"$passfile")
    [ -z "${pg_user:-}" ] || chown "$pg_user" "$passfile"
    "${pg_run[@]}" "$pg_bin/initdb" -D "$var/postgres" -U owner --auth=scram-sha-256 --pwfile="$passfile" \
        -E UTF8 --locale=C.UTF-8 >"$var/log/initdb.log" 2>&1 || {
        cat "$var/log/initdb.log" >&2
        die "initdb failed: see above"
    }
    rm -f "$passfile"
    local address
    for address in ${servers_listen:-}; do # hosts beside this one, all on networks of our own
        echo "host all all $address/30 scram-sha-256" | "${pg_run[@]}" tee -a "$var/postgres/pg_hba.conf" >/dev/null
    done
    "${pg_run[@]}" tee -a "$var/postgres/postgresql.conf" >/dev/null <<CONF
unix_socket_directories = ''
shared_buffers = 256MB
max_connections = 100
log_min_messages = warning
log_min_error_statement = panic
CONF
}

# psql as the owner of the private server; arguments as psql's.
owner_psql() {
    PGPASSWORD=$owner_password "$pg_psql" -h 127.0.0.1 -p "$pg_port" -U owner -X -q -v ON_ERROR_STOP=1 "$@"
}

# One login a program, each a member of its least-privileged group role (sql/roles.sql makes those).
postgres_roles() {
    pg_psql=$pg_bin/psql
    owner_psql -d postgres -At -c "SELECT 1 FROM pg_database WHERE datname = 'meridian'" | grep -q 1 ||
        owner_psql -d postgres -c 'CREATE DATABASE meridian'
}

postgres_logins() {
    local name
    for name in scheduler worker admin reporter; do
        local variable=${name}_password
        owner_psql -d meridian >/dev/null <<SQL
DO \$\$ BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'quickstart_$name') THEN
    CREATE ROLE quickstart_$name LOGIN;
  END IF;
END \$\$;
ALTER ROLE quickstart_$name PASSWORD '${!variable}';
GRANT meridian_$name TO quickstart_$name;
SQL
    done
}

# pg_url LOGIN [HOST]
pg_url() {
    local variable=${1}_password user=quickstart_$1
    [ "$1" != owner ] || user=owner
    echo "postgresql://$user:${!variable}@${2:-127.0.0.1}:$pg_port/meridian"
}

redis_url() {
    echo "redis://:$redis_password@127.0.0.1:$redis_port/0"
}

servers_stop() {
    # SIGINT is PostgreSQL's fast shutdown.
    stop_process "$var/run/postgres.pid" PostgreSQL INT 60
    stop_process "$var/run/redis.pid" Redis TERM 20
}
