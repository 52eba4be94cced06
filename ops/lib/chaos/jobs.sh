# The work that chaos disturbs: five sorts of jobs, each of which leaves its ids in $var/jobs/SORT. Only what was
# acknowledged is written down. Sourced after hosts.sh.

chaos_markets="de-DE fr-FR en-US"

# All in one region, so that both workers can run everything.
jobs_prepare() {
    local code split
    mkdir -p "$var/jobs"
    for code in $chaos_markets; do
        cli market set "$code" --region emea --timezone UTC >/dev/null
        for split in train dev test; do
            cli data import --market "$code" --task chaos --split "$split" "$root/ops/sample/$code/$split.jsonl" >/dev/null
        done
    done
    copies de-DE | cli data import --market de-DE --task chaos --split train - >/dev/null
}

# The sample's texts again and again under other names: enough for a training of some ten seconds.
copies() {
    local n
    for n in $(seq 20); do
        sed "s/\"id\": *\"/&$n-/" "$root/ops/sample/$1/train.jsonl"
    done
}

# submit SORT ARGS...: remembers the ids of what was acknowledged; a refusal is none.
submit() {
    local sort=$1 ids
    shift
    ids=$(cli "$@" 2>>"$var/log/submit.log") || return 1
    printf '%s\n' "$ids" | tee -a "$var/jobs/$sort"
}

submit_noop() { # SORT MS ARGS...
    local sort=$1 ms=$2
    shift 2
    submit "$sort" submit noop --set region="$chaos_region" --set sleep_ms="$ms" "$@"
}

submit_short() {
    submit_noop short 20 --count 10
}

submit_long() {
    submit_noop long 15000 --set steps=60 --count 2
}

# A training of some ten seconds that registers its state every second.
submit_checkpoint() {
    submit checkpoint submit finetune --market de-DE --task chaos --set epochs="$chaos_epochs" --set patience=0 \
        --set base=none --set checkpoint_s=1
}

# One, then two beside each other, then one that needs both; and a nightly, whose children are a graph of their own.
submit_graph() {
    local first left right
    first=$(submit_noop graph 2000) || return 1
    left=$(submit_noop graph 2000 --after "$first") || return 1
    right=$(submit_noop graph 2000 --after "$first") || return 1
    submit_noop graph 500 --after "$left" --after "$right" || return 1
    [ -n "$own" ] || submit graph nightly run --task chaos --market fr-FR
}

# Fires each minute; its jobs are those of its firings.
submit_scheduled() {
    cli schedule set chaos --cron '* * * * *' --tz UTC --task chaos --market en-US >>"$var/log/submit.log"
    scheduled_from=$(sql "SELECT clock_timestamp()")
}

wants() {
    [[ ",$chaos_sorts," == *",$1,"* ]]
}

jobs_submit() {
    rm -f "$var"/jobs/*
    local sort
    for sort in long checkpoint graph scheduled; do
        ! wants "$sort" || "submit_$sort" >/dev/null || die "cannot submit: see $var/log/submit.log"
    done
}

# Short ones come all the time, also while everything is broken; each attempt to submit is one line.
shorts_start() {
    wants short || return 0
    (while :; do
        submit_short >/dev/null 2>&1 || true
        read -r -t 0.3 <>"$work_fifo" || true
    done) &
    shorts_pid=$!
}

shorts_stop() {
    [ -z "${shorts_pid:-}" ] || {
        kill "$shorts_pid" 2>/dev/null || true
        wait "$shorts_pid" 2>/dev/null || true
        shorts_pid=""
    }
}

# One of each of the sorts that run for long is under way.
in_the_middle() {
    local sort
    for sort in long checkpoint; do
        ! wants "$sort" || is_one "SELECT EXISTS (SELECT FROM meridian.job
            WHERE id = ANY ($(job_ids "$sort")) AND state = 'running')" || return 1
    done
}

# Everything that was acknowledged has ended, children included.
jobs_ended() {
    local sort
    for sort in ${chaos_sorts//,/ }; do
        is_one "SELECT NOT EXISTS (SELECT FROM meridian.job
            WHERE (id = ANY ($(job_ids "$sort")) OR parent = ANY ($(job_ids "$sort"))) AND ended_at IS NULL)" || return 1
    done
}

job_ids() { # the ids of a sort as an SQL array
    printf "'{%s}'::uuid[]" "$(sort -u "$var/jobs/$1" 2>/dev/null | paste -sd, -)"
}

scheduled_ids() {
    sql "SELECT job FROM meridian.firing WHERE schedule = 'chaos' AND nominal_at > '$scheduled_from' AND job IS NOT NULL"
}

scheduled_stop() {
    wants scheduled || return 0
    wait_until 75 is_one "SELECT EXISTS (SELECT FROM meridian.firing WHERE nominal_at > '$1')" || true
    cli schedule set chaos --pause >>"$var/log/submit.log"
    scheduled_until=$(sql "SELECT clock_timestamp()")
    scheduled_ids >"$var/jobs/scheduled"
}
