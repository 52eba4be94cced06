# Configures and builds. Sourced after common.sh.

# build_preset PRESET: everything, tests included.
build_preset() {
    build_run "$1" -DMERIDIAN_TESTS=ON --
}

# build_programs PRESET: only the three programs; needs no test packages.
build_programs() {
    build_run "$1" -DMERIDIAN_TESTS=OFF -- --target meridian meridian-scheduler meridian-worker
}

# build_run PRESET CONFIGURE... -- BUILD...
build_run() {
    local preset=$1 configure=()
    shift
    while [ "$1" != -- ]; do
        configure+=("$1")
        shift
    done
    shift
    say "building ($preset)"
    (cd "$root" && cmake --preset "$preset" "${configure[@]}" >"$work_log" 2>&1 &&
        cmake --build --preset "$preset" "$@" >>"$work_log" 2>&1) || {
        grep -E 'error|FAILED|Error' "$work_log" | head -n 40 >&2
        tail -n 20 "$work_log" >&2
        die "the build of preset $preset failed: see above"
    }
    bin=$root/build/$preset/bin
}
