"""Changes the shelf until it is killed; prints each step once all of it is done. Usage: writer.py DIRECTORY"""

import sys

import numpy as np

import pymm


def payload(step):
    """What step number `step` writes: the same whoever asks."""
    rng = np.random.default_rng(step)
    return rng.standard_normal(int(rng.integers(1, 50_000)))


def main(directory):
    s = pymm.shelf("demo", pmem_path=directory)
    step = int(s.step)
    while True:
        step += 1
        s["run/latest"] = payload(step)  # another size each time, replaced as a whole
        s.counts += 1  # in place
        with s.batch() as batch:  # these two belong together
            batch[f"run/history/{step % 10}"] = payload(step)[:1000]
            batch["step"] = step
        print(step, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
