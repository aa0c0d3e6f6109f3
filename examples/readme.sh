#!/usr/bin/env bash
# Follows the README's tours, word for word but for the folder. In the built tree's environment:
#   scripts/env bash examples/readme.sh
set -euo pipefail
readme=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/README.md
tour=$(mktemp -d "${PYMM_TEST_DIR:-/tmp}/readme.XXXXXX")
trap 'rm -rf "$tour"' EXIT
cd "$tour"

section() { # TITLE: its indented lines
    sed -n "/^## $1\$/,/^## /{s|/tmp/tour|$tour|g;s/^    //p}" "$readme"
}

section 'Five minutes: the shell' | grep -v '^scripts/env bash$' >tour.sh
bash -euo pipefail tour.sh
section 'Five minutes: Python' | sed -n 's/^>>> //p' >tour.py
python tour.py
{
    echo "import numpy as np, pymm; s = pymm.shelf('demo', pmem_path='$tour')"
    section 'Arrays that grow' | sed -n 's/^>>> //p'
    section 'Lists, tuples and dicts' | sed -n 's/^>>> //p'
} >containers.py
[ "$(wc -l <containers.py)" -ge 6 ]
python containers.py
section 'Five minutes: C++' >all
sed '/^c++ /,$d' all >tour.cpp
bash -euo pipefail <(grep '^c++ ' all)
[ -s tour.sh ] && [ -s tour.py ] && [ -s tour.cpp ]
section 'After a crash' | sed '/^>>> /d' >check.sh
bash -euo pipefail check.sh
