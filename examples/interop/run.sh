#!/usr/bin/env bash
# Python writes, C++ reads; C++ writes, Python reads. Run by: scripts/env bash examples/interop/run.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
interop=${PYMM_INTEROP:-$here/../../build/examples/interop}
dir=$(mktemp -d "${PYMM_TEST_DIR:-${TMPDIR:-/tmp}}/pymm-interop-XXXXXX")
trap 'rm -rf "$dir"' EXIT

python3 "$here/interop.py" write "$dir" shared
got=$("$interop" read "$dir" shared)
echo "$got"
[ "$got" = "weights <f8 (3, 4) sum 166
bias 2 of the run is 2.5" ] || { echo "C++ read something else" >&2; exit 1; }
"$interop" write "$dir" shared
python3 "$here/interop.py" read "$dir" shared
