"""Opening a shelf against np.load, side by side. Usage: timing.py DIRECTORY"""

import os
import statistics
import sys
import time

import numpy as np

import pymm

ROUNDS = 9


def main(directory):
    with pymm.shelf("demo", pmem_path=directory, mode="r") as s:
        names = [name for name in s if isinstance(s[name], np.ndarray) and s[name].size]
        size = sum(s[name].nbytes for name in names)
        paths = [os.path.join(directory, f"{i}.npy") for i in range(len(names))]
        for name, path in zip(names, paths):
            np.save(path, s[name])
    largest = max(range(len(names)), key=lambda i: os.path.getsize(paths[i]))

    def shelf_one(mode):
        with pymm.shelf("demo", pmem_path=directory, mode=mode) as shelf:
            return shelf[names[largest]].flat[0]

    def shelf_all(mode):
        with pymm.shelf("demo", pmem_path=directory, mode=mode) as shelf:
            return sum(float(np.real(shelf[name].flat[0])) for name in names)

    def load_one(mmap):
        return np.load(paths[largest], mmap_mode=mmap).flat[0]

    def load_all(mmap):
        return sum(float(np.real(np.load(path, mmap_mode=mmap).flat[0])) for path in paths)

    rows = [
        ("pymm.shelf(mode='r')", lambda: shelf_one("r"), lambda: shelf_all("r")),
        ("pymm.shelf(mode='a')", lambda: shelf_one("a"), lambda: shelf_all("a")),
        ("np.load", lambda: load_one(None), lambda: load_all(None)),
        ("np.load(mmap_mode='r')", lambda: load_one("r"), lambda: load_all("r")),
    ]
    times = {(i, j): [] for i in range(len(rows)) for j in (0, 1)}
    for _ in range(ROUNDS):  # in turn, so that all see the same machine
        for i, (_, one, every) in enumerate(rows):
            for j, work in enumerate((one, every)):
                start = time.perf_counter()
                work()
                times[i, j].append(time.perf_counter() - start)

    one_mb = os.path.getsize(paths[largest]) / 2**20
    heads = f"one array of {one_mb:.0f} MiB", f"{len(names)} arrays, {size / 2**20:.0f} MiB"
    print(f"open, first element, close; median of {ROUNDS}, files in the page cache")
    print(f"{'':24}{heads[0]:>24}{heads[1]:>24}")
    for i, (label, _, _) in enumerate(rows):
        cells = (f"{statistics.median(times[i, j]) * 1e6:.0f} us" for j in (0, 1))
        print(f"{label:24}" + "".join(f"{cell:>24}" for cell in cells))
    for path in paths:
        os.remove(path)


main(sys.argv[1])
