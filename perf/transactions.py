"""Transactions against what is durable without them. Usage: scripts/env python perf/transactions.py [DIRECTORY]...

Every line is one comparison: its contestants take turns in one process, and each has the median of its rounds.
The ratio is to the first one. Without a DIRECTORY: /dev/shm and the directory for temporary files.
PMEM2_FORCE_GRANULARITY=CACHE_LINE makes a shelf in /dev/shm one in persistent memory.
"""

import itertools
import os
import shutil
import sys
import tempfile

import numpy as np

import pymm
from arrays import MIB, compare


def in_place(s, resident, size, rounds):
    """`size` bytes somewhere in a resident array are changed."""
    s.x = pymm.ndarray(resident * MIB, dtype=np.uint8)
    x = s.x
    x.fill(1)
    value = np.arange(size, dtype=np.uint32).astype(np.uint8)
    places = itertools.cycle(range(0, resident * MIB - size, 7 * max(size, 4096)))

    def persisted():
        at = next(places)
        x[at : at + size] = value
        x.persist_offset(at, size)

    def transaction():
        part = x[(at := next(places)) : at + size]
        with s.transaction(part):
            part[:] = value

    def rolled_back():
        part = x[(at := next(places)) : at + size]
        with s.transaction(part) as tx:
            part[:] = value
            tx.rollback()

    compare(f"{size:,} B in place, of {resident} MiB", rounds, persisted=persisted, transaction=transaction,
            rolled_back=rolled_back)
    del x, s.x


def everything(s, mib, rounds):
    """All of a variable is changed."""
    value = np.random.default_rng(1).random(mib * MIB // 8)
    s.x, s.y = value, value
    y = s.y

    def replaced():
        s.x = value

    def persisted():
        y[:] = value
        y.persist()

    def transaction():
        with s.transaction(y):
            y[:] = value

    compare(f"all of {mib} MiB", rounds, replaced=replaced, persisted=persisted, transaction=transaction)
    del y, s.x, s.y


def names(s, rounds):
    """Two numbers are assigned."""
    counter = itertools.count()
    s.none = 0  # a value: only names take part

    def each():
        s.a = s.b = next(counter)

    def batch():
        with s.batch() as b:
            b["a"] = b["b"] = next(counter)

    def transaction():
        with s.transaction("none"):
            s.a = s.b = next(counter)

    compare("two numbers", rounds, each_by_itself=each, batch=batch, transaction=transaction)
    del s.a, s.b, s.none


def measure(directory):
    disk = not directory.startswith("/dev/shm")
    place = tempfile.mkdtemp(prefix="pymm-perf-", dir=directory)
    resident, rounds = (256, 30) if disk else (1024, 300)
    try:
        with pymm.shelf("perf", place, size_mb=2 * resident + 256) as s:
            print(f"{directory}: microseconds, {s._state.handle.stat()['granularity']} granularity")
            names(s, rounds)
            for size in (64, 4096, MIB):
                in_place(s, resident, size, rounds if size < MIB else 30)
            everything(s, 64, 7)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    for where in sys.argv[1:] or ["/dev/shm", tempfile.gettempdir()]:
        if os.path.isdir(where):
            measure(where)
        else:
            print(f"{where}: left out, there is no such directory")
