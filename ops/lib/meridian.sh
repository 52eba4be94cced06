# Meridian itself on the private servers: migrate, sample markets, scheduler, workers. Sourced after servers.sh.

# Region of each sample market, and its zone; ops/sample/<market>/ has the texts.
sample_markets() {
    cat <<'MARKETS'
de-DE emea Europe/Berlin de
fr-FR emea Europe/Paris fr
ar-EG emea Africa/Cairo ar
en-US amer America/New_York en
es-MX amer America/Mexico_City es
pt-BR amer America/Sao_Paulo pt
ja-JP apac Asia/Tokyo ja
zh-CN apac Asia/Shanghai zh
hi-IN apac Asia/Kolkata hi
MARKETS
}

sample_regions() {
    sample_markets | awk '{ print $2 }' | sort -u
}

# cli ARGS...: the CLI with an operator's login.
cli() {
    MERIDIAN_REDIS_URL=$(redis_url) MERIDIAN_DATABASE_URL=$(pg_url admin) "$bin/meridian" "$@"
}

meridian_migrate() {
    MERIDIAN_DATABASE_URL=$(pg_url owner) "$bin/meridian" migrate
    postgres_logins
}

# meridian_samples [MARKET...]: registers and imports the sample markets (all without arguments).
meridian_samples() {
    local wanted=" $* " code region zone language split
    while read -r code region zone language; do
        [ "$wanted" = "  " ] || [[ $wanted == *" $code "* ]] || continue
        cli market set "$code" --region "$region" --timezone "$zone" --language "$language" >/dev/null
        for split in train dev test; do
            cli data import --market "$code" --task support-intent --split "$split" \
                "$root/ops/sample/$code/$split.jsonl" >/dev/null
        done
    done <<<"$(sample_markets)"
}

scheduler_start() {
    pid_is_ours "$var/run/scheduler.pid" && return 0
    MERIDIAN_REDIS_URL=$(redis_url) MERIDIAN_DATABASE_URL=$(pg_url scheduler) \
        setsid "$bin/meridian-scheduler" >>"$var/log/scheduler.log" 2>&1 </dev/null &
    pid_write "$var/run/scheduler.pid" $!
    disown # one that is killed is no news to the shell
}

# worker_start NAME REGION [FLAGS...]
worker_start() {
    local name=$1 region=$2
    shift 2
    pid_is_ours "$var/run/$name.pid" && return 0
    MERIDIAN_REDIS_URL=$(redis_url) MERIDIAN_DATABASE_URL=$(pg_url worker) \
        setsid "$bin/meridian-worker" --name "$name" --region "$region" "$@" \
        >>"$var/log/$name.log" 2>&1 </dev/null &
    pid_write "$var/run/$name.pid" $!
    disown
}

workers_up() {
    [ "$(cli workers --json | grep -o '"state": *"up"' | wc -l)" -ge "$1" ]
}

meridian_stop() {
    local file
    for file in "$var"/run/worker*.pid "$var"/run/scheduler.pid; do
        [ ! -e "$file" ] || stop_process "$file" "$(basename "$file" .pid)" TERM 60
    done
}
