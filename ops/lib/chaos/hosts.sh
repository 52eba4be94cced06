# Who runs where during chaos: two schedulers and two workers, each pair with one part on a host of its own (a network
# namespace) when this user may make those. Sourced after meridian.sh.

# The host of a part: "" is this one.
host_of() {
    case $1 in
    scheduler-1 | worker-1) [ -z "$hosts_net" ] || echo "$1" ;;
    esac
}

# Namespaces need root and iproute2, and a root that is a mount (a plain chroot is none: nothing can be run in them);
# without them all parts are on this host.
hosts_possible() {
    local probe=meridian-probe-$$ can=no
    [ "$(id -u)" -eq 0 ] && command -v ip >/dev/null && ip netns add "$probe" 2>/dev/null || return 1
    ip netns exec "$probe" true 2>/dev/null && can=yes
    ip netns del "$probe" && [ "$can" = yes ]
}

hosts_init() {
    hosts_net="" hosts_tag=m$((RANDOM % 10000)) servers_listen=""
    hosts_possible || return 0
    hosts_net=10.$((64 + RANDOM % 64)).$((RANDOM % 256))
    host_add scheduler-1 0
    host_add worker-1 1
}

# One host, on a wire of its own to this one.
host_add() {
    local space=$hosts_tag-$1 here=$hosts_tag-$2 there=$hosts_tag-$2p
    ip netns add "$space"
    ip link add "$here" type veth peer name "$there" netns "$space"
    ip addr add "$hosts_net.$(($2 * 4 + 1))/30" dev "$here"
    ip link set "$here" up
    ip -n "$space" addr add "$hosts_net.$(($2 * 4 + 2))/30" dev "$there"
    ip -n "$space" link set lo up
    ip -n "$space" link set "$there" up
    ip -n "$space" route add default via "$hosts_net.$(($2 * 4 + 1))" # a Sentinel names another address of this host
    servers_listen="$servers_listen $hosts_net.$(($2 * 4 + 1))"
}

host_number() {
    case $1 in scheduler-1) echo 0 ;; *) echo 1 ;; esac
}

# host_cut PART, host_mend PART: nothing arrives any more in either direction, and nobody is told: the two ends
# believe that the other has another card. What a pulled cable, a firewall and a dead host have in common.
host_cut() {
    host_wire replace "$1"
}

host_mend() {
    host_wire del "$1"
}

host_wire() {
    local n here there space=$hosts_tag-$2 card=""
    n=$(host_number "$2")
    here=$hosts_net.$((n * 4 + 1)) there=$hosts_net.$((n * 4 + 2))
    [ "$1" = del ] || card="lladdr 02:00:00:00:00:99 nud permanent"
    # shellcheck disable=SC2086 # words are meant
    ip neigh "$1" "$there" dev "$hosts_tag-$n" $card
    # shellcheck disable=SC2086
    ip -n "$space" neigh "$1" "$here" dev "$hosts_tag-${n}p" $card
}

hosts_close() {
    [ -n "$hosts_net" ] || return 0
    local part
    for part in scheduler-1 worker-1; do
        ip netns del "$hosts_tag-$part" 2>/dev/null || true # its wire goes with it
    done
}

# part_start NAME PROGRAM FLAGS...: on its host, with the servers' addresses as seen from there.
part_start() {
    local name=$1 program=$2 host login=worker at=127.0.0.1 run=()
    shift 2
    pid_is_ours "$var/run/$name.pid" && return 0
    host=$(host_of "$name")
    [ "$program" = meridian-worker ] || login=scheduler
    if [ -n "$host" ]; then
        run=(ip netns exec "$hosts_tag-$host")
        at=$hosts_net.$(($(host_number "$host") * 4 + 1))
    fi
    MERIDIAN_REDIS_URL=$(chaos_redis_url "$at") MERIDIAN_DATABASE_URL=$(pg_url "$login" "$at") \
        "${clock_env[@]}" setsid "${run[@]}" "$bin/$program" "$@" >>"$var/log/$name.log" 2>&1 </dev/null &
    pid_write "$var/run/$name.pid" $!
    disown # killing it is no news
}

part_pid() {
    pid_of "$var/run/$1.pid"
}

# The part and then all that it started: it must not live to tell that its runners died.
part_signal() {
    local pid children child
    pid=$(part_pid "$2")
    children=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
    kill -s "$1" "$pid"
    for child in $children; do
        kill -s "$1" "$child" 2>/dev/null || true
    done
}

scheduler_part() {
    part_start "scheduler-$1" meridian-scheduler
}

worker_part() {
    part_start "worker-$1" meridian-worker --name "worker-$1" --region emea --slots 4
}

# The scheduler that leads now: 1 or 2.
leader_number() {
    local holder
    holder=$(sql "SELECT split_part(holder, '/', 2) FROM meridian.leader")
    [ "$holder" = "$(part_pid scheduler-1)" ] && echo 1 || echo 2
}

parts_start() {
    scheduler_part 1
    wait_until 20 is_one "SELECT EXISTS (SELECT FROM meridian.leader)" || die "no scheduler leads: see $var/log"
    scheduler_part 2
    worker_part 1
    worker_part 2
    wait_until 20 is_one "SELECT count(*) = 2 FROM meridian.worker WHERE state = 'up'" ||
        die "the workers did not come up: see $var/log"
}

parts_stop() {
    local name
    for name in worker-1 worker-2 scheduler-1 scheduler-2; do
        [ ! -e "$var/run/$name.pid" ] || {
            kill -s CONT "$(part_pid "$name")" 2>/dev/null || true
            stop_process "$var/run/$name.pid" "$name" TERM 30
        }
    done
}
