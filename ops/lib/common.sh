# What the scripts of ops/ share: words, failing, waiting, free ports. Sourced after $root is set.

say() {
    printf '%s\n' "$*"
}

die() {
    printf 'meridian: %s\n' "$*" >&2
    exit 1
}

# wait_until SECONDS COMMAND...: polls until the command succeeds; fails after SECONDS.
wait_until() {
    local end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        read -r -t 0.05 <>"$work_fifo" || true
    done
}

# A fifo nobody writes to: reading it with a time limit waits without starting a process.
common_init() {
    work_dir=$(mktemp -d)
    work_log=$work_dir/log
    work_fifo=$work_dir/never
    mkfifo "$work_fifo"
    trap 'rm -rf "$work_dir"' EXIT
}

# port_free PORT: nothing listens there. /proc/net/tcp lists listening sockets with state 0A.
port_free() {
    local hex
    hex=$(printf ':%04X' "$1")
    ! awk -v port="$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# port_choose FIRST: the first free port from FIRST on.
port_choose() {
    local port=$1
    until port_free "$port"; do
        port=$((port + 1))
        [ "$port" -lt $(($1 + 500)) ] || die "no free port between $1 and $port"
    done
    echo "$port"
}

random_word() {
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# pid_is_ours FILE: the process of that pid file lives, and was started by the same file.
pid_is_ours() {
    local pid started now
    [ -s "$1" ] || return 1
    read -r pid started <"$1" || return 1
    now=$(pid_started "$pid") || return 1
    [ "$now" = "$started" ]
}

# Start time in clock ticks since boot: with the pid it names one process for good.
pid_started() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    set -- $stat
    [ "$1" != Z ] || return 1
    echo "${20}"
}

pid_write() {
    echo "$2 $(pid_started "$2")" >"$1"
}

pid_of() {
    local pid _
    read -r pid _ <"$1" && echo "$pid"
}

# stop_process FILE NAME [SIGNAL] [SECONDS]: asks, waits, then insists.
stop_process() {
    pid_is_ours "$1" || {
        rm -f "$1"
        return 0
    }
    local pid
    pid=$(pid_of "$1")
    kill -s "${3:-TERM}" "$pid" 2>/dev/null || true
    if ! wait_until "${4:-40}" not pid_is_ours "$1"; then
        say "$2 (process $pid) did not stop in ${4:-40} s: killed"
        kill -s KILL "$pid" 2>/dev/null || true
        wait_until 10 not pid_is_ours "$1" || die "$2 (process $pid) cannot be killed"
    fi
    rm -f "$1"
}

not() {
    ! "$@"
}
