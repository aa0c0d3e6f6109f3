"""Puts real data on a shelf and computes with it in place. Usage: fill.py DIRECTORY"""

import sys
import time

import numpy as np

import pymm
from datasets import everything, sklearn_data


def main(directory):
    s = pymm.shelf("demo", pmem_path=directory, size_mb=256, force_new=True)

    start, count, size = time.perf_counter(), 0, 0
    with s.batch() as batch:  # all of it, or nothing
        for name, array in everything():
            batch[name] = array
            count, size = count + 1, size + array.nbytes
    seconds = time.perf_counter() - start
    print(f"{count} arrays, {size / 2**20:.1f} MiB, in one atomic batch: {seconds * 1e3:.0f} ms")

    # Standardize the handwritten digits where they lie.
    s.digits = s["digits/data"]
    s.digits -= s.digits.mean(axis=0)
    s.digits /= np.maximum(s.digits.std(axis=0), 1e-9)
    plain = dict(sklearn_data())["digits/data"]
    plain = (plain - plain.mean(axis=0)) / np.maximum((plain - plain.mean(axis=0)).std(axis=0), 1e-9)
    assert np.allclose(s.digits, plain)

    if "images/china" in s:
        s.picture = s["images/china"]
        s.picture[:, :, 0] //= 2  # less red, in place
        s.picture[100:200] = 255 - s.picture[100:200]
        s.picture.persist()

    # What the writer will change.
    s.counts = pymm.ndarray((64, 64), dtype=np.int64)
    s.step = 0
    s.note = "filled from installed packages"
    print(s)
    s.close()


main(sys.argv[1])
