"""Work on shelved arrays against what else keeps or computes them. Usage: scripts/env python perf/arrays.py [DIRECTORY]...

Every line is one comparison: its contestants take turns in one process, and each has the median of its rounds.
The ratio is to the first one. Without a DIRECTORY: /dev/shm and the directory for temporary files.
PMEM2_FORCE_GRANULARITY=CACHE_LINE makes a shelf in /dev/shm one in persistent memory.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time

import numpy as np

import pymm

MIB = 1 << 20


def compare(title, rounds, **contestants):
    """Runs each contestant once per round, and once before. Prints medians in microseconds."""
    taken = {label: [] for label in contestants}
    for turn in range(rounds + 1):
        for label, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn:
                taken[label].append((time.perf_counter() - start) * 1e6)
    medians = {label: statistics.median(times) for label, times in taken.items()}
    first = next(iter(medians.values()))
    cells = [f"{label.replace('_', ' ')} {us:,.1f}" + ("" if i == 0 else f" ({us / first:.2f}x)")
             for i, (label, us) in enumerate(medians.items())]
    print(f"  {title:34}  " + "   ".join(cells), flush=True)


def persisted_writes(directory, s, size):
    """Single writes to random places of 64 MiB, each durable before the next."""
    length = 64 * MIB
    s.area = pymm.ndarray(length, dtype=np.uint8)
    s.area.fill(1)
    area = s.area
    path = os.path.join(directory, "plain.bin")
    np.ones(length, np.uint8).tofile(path)
    mapped = np.memmap(path, np.uint8, "r+")
    fd = os.open(path, os.O_RDWR)
    new = np.arange(size, dtype=np.uint8)
    data = new.tobytes()
    places = iter(np.random.default_rng(1).integers(0, length // size, 1_000_000) * size)

    def shelf():
        at = int(next(places))
        area[at : at + size] = new
        area.persist_offset(at, size)

    def memmap_flush():
        at = int(next(places))
        mapped[at : at + size] = new
        mapped.flush()

    def pwrite_fdatasync():
        os.pwrite(fd, data, int(next(places)))
        os.fdatasync(fd)

    compare(f"persisted write of {size} B", 200, shelf=shelf, memmap_flush=memmap_flush,
            pwrite_fdatasync=pwrite_fdatasync)
    os.close(fd)
    del area, mapped
    os.unlink(path)
    del s.area


def keeping(directory, s, mib):
    """A whole array, durable when done; the former one is replaced."""
    value = np.random.default_rng(1).random(mib * MIB // 8)
    path = os.path.join(directory, "plain.npy")

    def shelf():
        s.x = value

    def save_fsync():
        with open(path + ".new", "wb") as file:
            np.save(file, value)
            file.flush()
            os.fsync(file.fileno())
        os.rename(path + ".new", path)

    compare(f"keep {mib} MiB", 7, shelf=shelf, numpy_save_fsync_rename=save_fsync)
    os.unlink(path)
    del s.x


def appending(directory, s, rows):
    """One row of 64 bytes more, durable, behind so many."""
    row = np.arange(8.0)
    data = row.tobytes()
    s.rows = pymm.ndarray((rows, 8), maxshape=(None, 8))
    s.rows.append(row)  # the copy that makes room
    whole = np.zeros((rows, 8))
    path = os.path.join(directory, "rows.bin")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(fd, whole.tobytes())
    os.fsync(fd)

    def shelf():
        s.rows.append(row)

    def write_fdatasync():
        os.write(fd, data)
        os.fdatasync(fd)

    def save_whole_fsync():
        with open(path + ".npy", "wb") as file:
            np.save(file, np.concatenate([whole, row[np.newaxis]]))
            file.flush()
            os.fsync(file.fileno())

    compare(f"append 64 B behind {rows} rows", 100, shelf=shelf, write_fdatasync=write_fdatasync,
            save_whole_fsync=save_whole_fsync)
    os.close(fd)
    os.unlink(path)
    os.unlink(path + ".npy")
    del s.rows


def results(s, mib):
    """`s.x = s.a + s.b`, durable, made in DRAM and copied, or made where it stays."""
    s.a = np.ones(mib * MIB // 8)
    s.b = np.ones(mib * MIB // 8)
    a, b = s.a.asndarray(), s.b.asndarray()

    def copied():
        s.x = s.a + s.b

    def in_arena():
        with s.arena():
            s.x = s.a + s.b

    def not_kept():
        return a + b

    compare(f"keep a sum of {mib} MiB", 7, copied=copied, in_arena=in_arena, not_kept=not_kept)
    for name in ("a", "b", "x"):
        del s[name]


def computing(s):
    """The same work on arrays in DRAM and on the shelf; in-place work is durable there."""
    n = 700
    plain, other = np.random.default_rng(1).random((2, n, n))
    s.m, s.o = plain, other
    shelved, shelved_other = s.m, s.o
    views = shelved.asndarray(), shelved_other.asndarray()
    for title, work in (
        (f"matrix product, {n} x {n}", lambda x, y: x @ y),
        (f"sum and sine, {n} x {n}", lambda x, y: np.sin(x).sum() + y.sum()),
        (f"sort a copy, {n} x {n}", lambda x, y: np.sort(x, axis=None)),
    ):
        compare(title, 15, plain=lambda: work(plain, other), shelved=lambda: work(shelved, shelved_other),
                plain_view_of_it=lambda: work(*views))

    def in_place(x):
        x *= 1.000001

    compare("in place, durable on the shelf", 15, plain=lambda: in_place(plain), shelved=lambda: in_place(shelved))


def main(directories):
    for base in directories:
        directory = tempfile.mkdtemp(prefix="pymm-perf-", dir=base)
        try:
            with pymm.shelf("perf", pmem_path=directory, size_mb=1024) as s:
                granularity = s._state.handle.stat()["granularity"]
                print(f"{base}, granularity {granularity}; medians in us, ratio to the first")
                for size in (64, 4096):
                    persisted_writes(directory, s, size)
                for rows in (1000, 100_000):
                    appending(directory, s, rows)
                for mib in (1, 90):
                    keeping(directory, s, mib)
                    results(s, mib)
                computing(s)
        finally:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main(sys.argv[1:] or [d for d in ("/dev/shm", tempfile.gettempdir()) if os.path.isdir(d)])
