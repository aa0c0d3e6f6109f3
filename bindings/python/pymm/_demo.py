"""A guided run, for those who want to see it before they read about it."""

from __future__ import annotations

import sys
from typing import Any

# What is shown is what is run: remarks, statements, and expressions whose values are shown.
_STEPS = """
# A shelf is two files in a directory; this one goes to a temporary one. Yours would say
# pmem_path='/mnt/pmem0', or any directory.
s = pymm.shelf('demo', size_mb=64, pmem_path=directory, force_new=True)

# An array made directly on the shelf, zero-filled, with no copy in DRAM. Changed in place.
s.x = pymm.ndarray((1000, 1000), dtype=np.float64)
s.x.fill(3)
s.x += 2
s.x[1, 1]

# Element stores are as fast as NumPy's; they are durable after persist().
s.x[1, 1] = 9; s.x.persist()

# Anything assigned is copied over, durably, and whole or not at all.
s.picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
s.blended = s.picture + 0.5 * s.picture[::-1]
s.blended[0].tolist()

# Numbers and text are as they always are.
s.count = 41; s.count += 1
s.title = pymm.string('hello, shelf')
s.count, s.title.upper()

# Several changes that belong together.
with s.batch() as batch: batch['epoch'] = 1; batch.rename('title', 'caption')

s.inspect()

# Another day, or after a crash: everything is there at once, nothing is loaded.
s.close()
s = pymm.shelf('demo', pmem_path=directory)
s.items
float(s.x.sum()), s.caption
s.erase('x'); s.erase(s.picture)
s.items
s.close()
"""


def demo() -> None:
    """Shows the main things on a temporary shelf: prints each step, runs it, and prints what it gives.

    The only function of pymm that prints (to sys.stdout). Needs 64 MiB in the directory for temporary
    files ($TMPDIR, else /tmp) while it runs; nothing is left there.
    """
    import tempfile

    import numpy as np

    import pymm

    with tempfile.TemporaryDirectory(prefix="pymm-demo-") as directory:
        names: dict[str, Any] = {"np": np, "pymm": pymm, "directory": directory}
        try:
            for line in _STEPS.strip().split("\n"):
                _show(line, names)
        finally:
            # Where a step failed, the shelf's files would outlast their directory otherwise.
            if "s" in names:
                names["s"].close()


def _show(line: str, names: dict[str, Any]) -> None:
    out = sys.stdout
    if not line or line.startswith("#"):
        out.write(line + "\n")
        return
    out.write(f">>> {line}\n")
    try:
        expression = compile(line, "<pymm.demo>", "eval")
    except SyntaxError:
        exec(compile(line, "<pymm.demo>", "exec"), names)
        return
    value = eval(expression, names)
    if value is not None:
        out.write(f"{value!r}\n")
