"""Attribute access of a shelf against a plain Python object, and small work on shelved arrays against plain
ones. Usage: scripts/env python perf/attribute.py [DIRECTORY]

Every line is the best of several rounds taken in turn, in ns.
"""

import operator
import os
import sys
import tempfile
import timeit

import numpy as np

import pymm

ROUNDS = 15
NUMBER = 100_000


class Plain:
    pass


def side_by_side(statement, number=NUMBER, **choices):
    """ns of one run of the statement, for each choice of `o`."""
    timers = {
        label: timeit.Timer(statement, globals={"o": o, "np": np, "iadd": operator.iadd})
        for label, o in choices.items()
    }
    best = dict.fromkeys(timers, float("inf"))
    for _ in range(ROUNDS):
        for label, timer in timers.items():
            best[label] = min(best[label], timer.timeit(number) / number * 1e9)
    return best


def show(title, results, base):
    cells = "".join(
        f"  {label} {ns:8.1f}" + ("" if label == base else f" ({ns / results[base]:4.2f}x)")
        for label, ns in results.items()
    )
    print(f"{title:26}{cells}")


def main(directory):
    value = np.arange(8.0)
    plain = Plain()
    plain.x = value
    complete = pymm.shelf("complete", pmem_path=directory, size_mb=8, force_new=True)
    partly = pymm.shelf("partly", pmem_path=directory, size_mb=8, force_new=True)
    for s in (complete, partly):
        s.x = value
    partly.y = value  # never opened, so each name might be one of the catalogue's
    complete.x, partly.x

    print("plain object, shelf with all variables open, shelf with some open; ns")
    show("o.x", side_by_side("o.x", plain=plain, open=complete, some=partly), "plain")
    show("o.x += 1", side_by_side("o.x += 1", plain=plain, open=complete, some=partly), "plain")

    print("plain array, shelved array of 64 bytes (in-place operators are durable); ns")
    arrays = {"plain": value.copy(), "shelved": complete.x}
    for statement in ("iadd(o, 1.0)", "o + 1.0", "o[1:3]", "o[1]", "o[1] = 2.0", "o.sum()", "np.sqrt(o)", "np.dot(o, o)"):
        show(statement, side_by_side(statement, **arrays), "plain")
    complete.close()
    partly.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        base = os.environ.get("PYMM_TEST_DIR") or ("/dev/shm" if os.path.isdir("/dev/shm") else None)
        with tempfile.TemporaryDirectory(dir=base) as scratch:
            main(scratch)
