"""Checks a shelf whose writer was killed, bit by bit. Usage: verify.py DIRECTORY ACKNOWLEDGED"""

import sys

import numpy as np

import pymm
from datasets import everything
from writer import payload


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def main(directory, acknowledged):
    with open(acknowledged) as file:
        steps = [int(line) for line in file if line.endswith("\n")]
    assert steps == list(range(1, len(steps) + 1))
    last = steps[-1]

    s = pymm.shelf("demo", pmem_path=directory)
    count = size = 0
    for name, array in everything():
        assert same(s[name], array), name
        count, size = count + 1, size + array.nbytes
    print(f"{count} arrays, {size / 2**20:.1f} MiB: each equal to its source, bit by bit")

    # The step that was under way when the signal came may be there or not, in whole pieces only.
    step = int(s.step)
    assert last <= step <= last + 1, (last, step)
    assert any(same(s["run/latest"], payload(k)) for k in (step, step + 1))
    for k in range(max(1, step - 9), step + 1):
        assert same(s[f"run/history/{k % 10}"], payload(k)[:1000]), k
    # In-place operators are durable when they return; one that is cut leaves each element old or new.
    assert set(np.unique(s.counts)) <= {step, step + 1}, np.unique(s.counts)
    print(f"{last} steps were acknowledged, {step} are there, none is half there")

    assert same(np.load(f"{directory}/iris.npy"), s["iris/data"])
    print("iris.npy, written by pymmctl, equals s['iris/data']")
    s.close()


main(sys.argv[1], sys.argv[2])
