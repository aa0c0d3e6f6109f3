"""Python's side of the example: writes an array and a dict for C++, reads what C++ wrote. No copies.

usage: interop.py write|read NAMESPACE SHELF
"""
import sys

import numpy as np
import pymm


def main() -> None:
    what, path, name = sys.argv[1:]
    with pymm.shelf(name, size_mb=16, pmem_path=path) as s:
        if what == "write":
            s.weights = np.arange(12, dtype=np.float64).reshape(3, 4)
            s.weights[0, 0] = 100  # in place ...
            s.weights.persist()  # ... and durable from here
            s.run = {"rate": 0.1, "biases": np.array([0.5, 1.5, 2.5]), "layers": ["conv", "dense"]}
            print("weights written")
        else:
            assert s.answers.dtype == np.int64 and s.answers.shape == (3, 5)
            assert s.answers[2, 4] == 42 and s.answers[:, :4].sum() == sum(
                i for i in range(15) if i % 5 != 4
            )
            assert s.note == "written by C++"
            print("answers", s.answers.tolist(), "-", s.note)


if __name__ == "__main__":
    main()
