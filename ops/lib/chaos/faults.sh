# The faults: inject_NAME breaks something, heal_NAME mends it (a part that died is started again, as a service
# manager would), hold_NAME says how long it stays broken. Sourced after hosts.sh.

chaos_faults="worker-kill worker-stop scheduler-kill leader-cut redis-kill redis-flush redis-failover postgres-kill half-open disk-full clock-step"

# Why this machine cannot do a fault; nothing when it can.
fault_missing() {
    case $1 in
    leader-cut | half-open) hosts_possible || echo "network namespaces need root, the package iproute2 and a root that is a mount" ;;
    disk-full) [ "$(id -u)" -eq 0 ] || echo "a small file system of its own needs root" ;;
    clock-step) [ -n "$(faketime_library)" ] || echo "a clock of its own needs the package faketime" ;;
    esac
}

faketime_library() {
    local file
    for file in /usr/lib/*/faketime/libfaketime.so.1; do
        [ ! -e "$file" ] || echo "$file"
    done
}

hold_of() {
    case $1 in
    worker-kill | worker-stop | leader-cut | half-open) echo 32 ;; # more than twice a lease
    disk-full) echo 12 ;;
    redis-failover | clock-step) echo 10 ;;
    *) echo 2 ;;
    esac
}

inject_worker_kill() { part_signal KILL worker-1; }
heal_worker_kill() { revive worker-1 worker_part 1; }

inject_worker_stop() { part_signal STOP worker-1; }
heal_worker_stop() { part_signal CONT worker-1; }

inject_scheduler_kill() {
    killed=$(leader_number)
    kill -9 "$(part_pid "scheduler-$killed")"
}
heal_scheduler_kill() { revive "scheduler-$killed" scheduler_part "$killed"; }

# Scheduler 1 was started first and leads.
inject_leader_cut() { host_cut scheduler-1; }
heal_leader_cut() { host_mend scheduler-1; }

inject_half_open() { host_cut worker-1; }
heal_half_open() { host_mend worker-1; }

inject_redis_kill() { kill -9 "$(pid_of "$var/run/redis.pid")"; }
heal_redis_kill() {
    wait_until 10 not pid_is_ours "$var/run/redis.pid"
    redis_start
}

redis_say() {
    REDISCLI_AUTH=$redis_password redis-cli -p "$redis_port" "$@" >>"$var/log/submit.log" 2>&1
}

# Three times, so that it hits offers, reports and submissions alike.
inject_redis_flush() {
    local i
    for i in 1 2 3; do
        redis_say FLUSHALL
        read -r -t 0.4 <>"$work_fifo" || true
    done
}
heal_redis_flush() { :; }

# The replica hears nothing for three seconds of acknowledged writes, then the master dies and the replica takes over.
inject_redis_failover() {
    kill -STOP "$(pid_of "$var/run/replica.pid")"
    read -r -t 3 <>"$work_fifo" || true
    kill -9 "$(pid_of "$var/run/redis.pid")"
    kill -CONT "$(pid_of "$var/run/replica.pid")"
}
heal_redis_failover() {
    wait_until 60 replica_leads || die "the Sentinel did not make the replica the master: see $var/log/sentinel.log"
}

replica_leads() {
    REDISCLI_AUTH=$redis_password redis-cli -p "$replica_port" ROLE | head -n 1 | grep -q master
}

# The whole server at once, as a power cut: commits under way are neither known nor unknown.
inject_postgres_kill() {
    local pid child
    pid=$(pid_of "$var/run/postgres.pid")
    child=$(cat "/proc/$pid/task/$pid/children")
    # shellcheck disable=SC2086 # one word a process
    kill -9 "$pid" $child 2>/dev/null || true
}
heal_postgres_kill() {
    wait_until 10 not pid_is_ours "$var/run/postgres.pid"
    postgres_start
}

# The file system of PostgreSQL and Redis has no room left.
inject_disk_full() {
    dd if=/dev/zero of="$var/disk/filler" bs=1M status=none 2>/dev/null || true
    dd if=/dev/zero of="$var/disk/filler2" bs=4k status=none 2>/dev/null || true
}
heal_disk_full() {
    grep -q 'No space left' "$var"/log/{postgres,redis}.log || say "disk-full: neither server met the end of its disk"
    rm -f "$var/disk/filler" "$var/disk/filler2"
    wait_until 5 not pid_is_ours "$var/run/postgres.pid" || true # it may have given up
    postgres_start
    redis_start
}

# An hour forward for everybody's wall clock, PostgreSQL's too; then back again.
inject_clock_step() { echo +3600 >"$var/clock"; }
heal_clock_step() { echo +0 >"$var/clock"; }

# revive NAME COMMAND...: once it is really gone.
revive() {
    wait_until 10 not pid_is_ours "$var/run/$1.pid" || die "$1 does not die"
    shift
    "$@"
}

# --- what a fault needs before it starts --------------------------------------------------------

prepare_fault() {
    clock_env=(env)
    case $1 in
    disk-full)
        mkdir -p "$var/disk"
        mount -t tmpfs -o size=400m,mode=755 none "$var/disk"
        mkdir "$var/disk/postgres" "$var/disk/redis"
        ln -s "$var/disk/postgres" "$var/postgres"
        ln -s "$var/disk/redis" "$var/redis"
        ;;
    clock-step)
        echo +0 >"$var/clock"
        chmod 644 "$var/clock"
        clock_env=(env LD_PRELOAD="$(faketime_library)" FAKETIME_TIMESTAMP_FILE="$var/clock" FAKETIME_CACHE_DURATION=1
            FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1)
        pg_run+=("${clock_env[@]}")
        ;;
    esac
}

# The Redis that schedulers, workers and the CLI are told of.
chaos_redis_url() {
    if [ "$fault" = redis-failover ]; then
        echo "redis+sentinel://:$redis_password@$1:$sentinel_port/main"
    else
        echo "redis://:$redis_password@$1:$redis_port/0"
    fi
}

redis_url() { chaos_redis_url 127.0.0.1; }

# A replica and a Sentinel beside the master.
failover_start() {
    replica_port=$(port_choose $((redis_port + 101)))
    sentinel_port=$(port_choose $((redis_port + 301)))
    local master=127.0.0.1 port
    [ -z "$hosts_net" ] || master=${servers_listen## }
    master=${master%% *}
    mkdir -p "$var/replica"
    sed -e "s|^port .*|port $replica_port|; s|^dir .*|dir $var/replica|" "$var/redis.conf" >"$var/replica.conf"
    printf 'replicaof %s %s\nmasterauth %s\n' "$master" "$redis_port" "$redis_password" >>"$var/replica.conf"
    [ "$master" = 127.0.0.1 ] || echo "replica-announce-ip $master" >>"$var/replica.conf"
    setsid "$redis_bin" "$var/replica.conf" >>"$var/log/replica.log" 2>&1 </dev/null &
    pid_write "$var/run/replica.pid" $!
    disown
    {
        echo "port $sentinel_port"
        echo "bind 127.0.0.1 ${servers_listen:-}"
        echo "protected-mode no"
        echo "dir $var"
        echo "sentinel monitor main $master $redis_port 1"
        echo "sentinel auth-pass main $redis_password"
        echo "sentinel down-after-milliseconds main 1500"
        echo "sentinel failover-timeout main 10000"
    } >"$var/sentinel.conf"
    setsid "$redis_bin" "$var/sentinel.conf" --sentinel >>"$var/log/sentinel.log" 2>&1 </dev/null &
    pid_write "$var/run/sentinel.pid" $!
    wait_until 30 sentinel_knows || die "the Sentinel does not know the replica: see $var/log/sentinel.log"
}

sentinel_knows() {
    redis-cli -p "$sentinel_port" SENTINEL replicas main | grep -A1 master-link-status | grep -q ok
}

failover_stop() {
    local name
    for name in sentinel replica; do
        [ ! -e "$var/run/$name.pid" ] || stop_process "$var/run/$name.pid" "$name" TERM 10
    done
}
