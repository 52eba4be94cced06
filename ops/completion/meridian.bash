# Bash completion for meridian: commands, their words and flags. Made by: meridian completion bash
_meridian_words() {
    cat <<'WORDS'
migrate
market set
market list
market show
market rm
task set
task list
task show
data import
data list
data snapshot
data erase
submit
nightly run
jobs
job
wait
logs
cancel
retry
dead list
dead show
dead replay
dead purge
watch
queue stats
queue pause
queue resume
workers
workers drain
limit set
limit list
limit rm
schedule set
schedule list
schedule log
schedule rm
schedule run
schedule next
backfill list
backfill pause
backfill resume
model list
model show
model diff
model promote
model rollback
model pull
model push
model export
predict
report
simulate
help
completion
WORDS
}

_meridian_flags() {
    case "$1" in
    "migrate") echo "--status --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "market set") echo "--collapse-drop --language --max-running --min-support --region --timezone --tolerance --weight --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "market list") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "market show") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "market rm") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "task set") echo "--no-source --source --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "task list") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "task show") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "data import") echo "--format --id-column --label-column --market --max-bad --max-text --no-quotes --split --task --text-column --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "data list") echo "--market --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "data snapshot") echo "--market --split --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "data erase") echo "--market --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "submit") echo "--after --after-any --after-notok --at --bulk --count --delay --intake-max --market --max-attempts --priority --quorum --set --skip-bad --spec --task --timeout --unique --unique-policy --wait --watch --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "nightly run") echo "--again --cap --from --intake-max --market --markets --priority --promote --set --spec --task --timeout --to --wait --watch --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "jobs") echo "--kind --limit --market --since --state --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "job") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "wait") echo "--timeout --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "logs") echo "--follow --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "cancel") echo "--all --kind --market --region --state --task --yes --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "retry") echo "--set --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "dead list") echo "--code --kind --market --since --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "dead show") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "dead replay") echo "--all --code --kind --market --set --since --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "dead purge") echo "--all --code --kind --market --since --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "watch") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "queue stats") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "queue pause") echo "--market --region --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "queue resume") echo "--market --region --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "workers") echo "--all --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "workers drain") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "limit set") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "limit list") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "limit rm") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "schedule set") echo "--all-markets --cron --gap --jitter --market --missed --missed-max --missed-window --overlap --pause --priority --resume --running --set --spec --task --tz --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "schedule list") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "schedule log") echo "--limit --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "schedule rm") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "schedule run") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "schedule next") echo "--clocks --count --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "backfill list") echo "--all --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "backfill pause") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "backfill resume") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "model list") echo "--all --market --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "model show") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "model diff") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "model promote") echo "--market --reason --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "model rollback") echo "--market --reason --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "model pull") echo "--market --output --task --version-id --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "model push") echo "--market --reason --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "model export") echo "--market --output --task --version-id --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "predict") echo "--all --market --model --task --version-id --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "report") echo "--limit --market --since --task --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "simulate") echo "--max-running --priority-age --share-half-life --since --until --weight --workers --csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "help") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    "completion") echo "--csv --json --data-url --database-url --help --log --redis-prefix --redis-url --version " ;;
    esac
}

_meridian() {
    local current=${COMP_WORDS[COMP_CWORD]} said="" word i line
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        [[ $word == -* ]] && break
        grep -q "^${said:+$said }$word\( \|\$\)" < <(_meridian_words) || break
        said=${said:+$said }$word
    done
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_meridian_flags "$said")" -- "$current")
        return
    fi
    local words=""
    while read -r line; do
        if [[ -z $said ]]; then
            words+=" ${line%% *}"
        elif [[ $line == "$said "* ]]; then
            line=${line#"$said "}
            words+=" ${line%% *}"
        fi
    done < <(_meridian_words)
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current" | sort -u)
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -o filenames -F _meridian meridian
