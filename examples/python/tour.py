"""Five minutes with pymm. Usage: scripts/env python examples/python/tour.py [DIRECTORY]"""

import os
import sys
import tempfile

import numpy as np

import pymm


def tour(directory):
    s = pymm.shelf("tour", pmem_path=directory, size_mb=64, force_new=True)

    # Assignment copies to the shelf: atomic, and durable when the line is done.
    s.x = np.arange(12.0).reshape(3, 4)
    s.greeting = "hello, shelf"
    s.count = 41

    # A recipe makes an array directly on the shelf, zero-filled, with no copy in DRAM.
    s.y = pymm.ndarray((1000, 1000), dtype=np.int64)

    # In-place operators change the shelf's memory and are durable when they return, parts included.
    s.x += 1
    s.x[1] *= 2
    s.y.fill(3)
    s.count += 1

    # Element stores are as fast as NumPy's; they are durable after persist().
    s.y[1][1] = 9
    s.y.persist()

    # Arithmetic gives plain arrays; values have the operators of their types.
    total = s.x + s.x
    assert type(total) is np.ndarray and type(s.x) is pymm.ndarray.shelved_ndarray
    assert s.greeting.upper() == "HELLO, SHELF" and s.count == 42

    # Several changes that belong together.
    with s.batch() as batch:
        batch["model/weights"] = np.ones((10, 10), np.float32)
        batch["model/version"] = 1
        batch.rename("greeting", "note")

    # An array that is held stays valid whatever happens to its variable.
    old = s.x
    s.x = np.zeros(3)
    del s.y
    assert old[2, 3] == 12

    print(s)
    s.close()

    # Another process, another day: everything is there at once.
    with pymm.shelf("tour", pmem_path=directory, mode="r") as s:
        print(s.items, s.note, s["model/weights"].shape)
        assert s.count == 42 and "y" not in s
        try:
            s.y
        except AttributeError as error:
            print("AttributeError:", error)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        tour(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory(dir=os.environ.get("PYMM_TEST_DIR")) as scratch:
            tour(scratch)
