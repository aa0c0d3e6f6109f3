# shellcheck shell=bash disable=SC2034
# Functions that the scripts beside this file share. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
build=$root/build

# The build runs as wide as the machine; PYMM_JOBS narrows it on a shared one.
jobs=${PYMM_JOBS:-$(nproc)}

say() { printf '\n==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        # DEBIAN_FRONTEND and the proxy variables do not survive sudo by default.
        sudo -E "$@"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}

# The non-comment words of a list file.
list_of() { sed -e 's/#.*//' "$1" | xargs -r printf '%s\n'; }

# Two runs at once (an editor's and a terminal's) must not share a half-made
# .venv or build folder. The descriptor is left open: the lock ends with the script.
lock() {
    exec {lock_fd}>"$1"
    flock -n "$lock_fd" || { say "waiting for another run to release ${1##*/}"; flock "$lock_fd"; }
}

# Builds see the tools of .venv before the system's. ccache may serve one build
# folder from another: the wheel's, a temporary one, from build/.
use_venv() {
    export CCACHE_NOHASHDIR=1
    [ -x "$venv/bin/meson" ] || die "no .venv: run scripts/setup first"
    export PATH="$venv/bin:$PATH" VIRTUAL_ENV=$venv
}
