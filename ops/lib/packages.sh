# Installs what ops/packages.txt lists and the system lacks. Sourced; needs $root and say/die from common.sh.

# The name to install for "a|b": the one installed, else the first that this release offers.
packages_choose() {
    local name names=${1//|/ }
    for name in $names; do
        if dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q '^install ok installed'; then
            return 1
        fi
    done
    for name in $names; do
        if apt-cache show "$name" >/dev/null 2>&1; then
            echo "$name"
            return 0
        fi
    done
    echo "${1%%|*}"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        die "packages are missing and you are neither root nor have sudo: ask an administrator to install: $missing"
    fi
}

# A package must not start a server on this host: ours run privately under var/.
packages_without_services() {
    local policy=/usr/sbin/policy-rc.d made=no status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        >"$work_log" 2>&1 || status=$?
    [ "$made" = no ] || as_root rm -f "$policy"
    return "$status"
}

# packages_install WHAT...: WHAT is build, run or test.
packages_install() {
    local what name chosen
    missing=""
    if ! command -v dpkg-query >/dev/null 2>&1; then
        say "not Debian: expecting the packages of ops/packages.txt to be there"
        return 0
    fi
    packages_missing "$@"
    [ -n "$missing" ] || return 0
    say "installing packages (this happens once)"
    as_root apt-get update -qq >"$work_log" 2>&1 || say "apt-get update failed, trying with the lists at hand: $(tail -n 1 "$work_log")"
    packages_missing "$@" # names can change once the lists are there
    # shellcheck disable=SC2086 # one word a package is meant
    packages_without_services $missing || {
        tail -n 20 "$work_log" >&2
        die "installing failed: see above; then run this again"
    }
}

packages_missing() {
    local what name chosen wanted=" $* "
    missing=""
    while read -r what name _; do
        case $what in '' | \#*) continue ;; esac
        case $wanted in *" $what "*) ;; *) continue ;; esac
        if chosen=$(packages_choose "$name"); then
            missing="$missing $chosen"
        fi
    done <"$root/ops/packages.txt"
}
