# Configures and builds one preset. Sourced after common.sh.

build_preset() {
    local preset=$1 dir=$root/build/$1
    say "building ($preset)"
    (cd "$root" && cmake --preset "$preset" >"$work_log" 2>&1 && cmake --build --preset "$preset" >>"$work_log" 2>&1) || {
        grep -E 'error|FAILED|Error' "$work_log" | head -n 40 >&2
        tail -n 20 "$work_log" >&2
        die "the build of preset $preset failed: see above"
    }
    bin=$dir/bin
}
