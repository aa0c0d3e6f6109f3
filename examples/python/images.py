"""Photographs on a shelf: processed in place, and still there after a crash.

Usage: scripts/env python examples/python/images.py [DIRECTORY]

Two photographs that scikit-learn carries are put on a shelf, brightened in place, sharpened with a result that is made on
the shelf, and turned into thumbnails. A second process is killed in the middle of its work on them. Then everything
that was said to be done is there, and Pillow writes it as PNG straight from the shelf's memory.
"""

import os
import shutil
import signal
import sys
import tempfile

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

import pymm


def blurred(image):
    """Mean of 3 x 3 pixels, with the borders repeated."""
    padded = np.pad(image.astype(np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9


def import_photographs(s):
    photographs = load_sample_images()
    for path, image in zip(photographs.filenames, photographs.images):
        name = os.path.splitext(os.path.basename(path))[0]
        s[f"{name}/original"] = image
        s[f"{name}/work"] = image  # the originals stay as they are
    return sorted({name.split("/")[0] for name in s})


def brighten(image, gain):
    """In place, durable when it returns: the shelf's memory is the image's."""
    np.clip(np.multiply(image, gain, casting="unsafe", dtype=np.float32), 0, 255, out=image, casting="unsafe")


def process(s, names):
    for name in names:
        work = s[f"{name}/work"]
        brighten(work, 1.2)
        with s.arena():
            # Made on the shelf, and the variable from then on: no copy.
            s[f"{name}/sharp"] = np.clip(2 * work.astype(np.float32) - blurred(work), 0, 255).astype(np.uint8)
            s[f"{name}/thumbnail"] = np.ascontiguousarray(s[f"{name}/sharp"][::8, ::8])
        s[f"{name}/mean"] = float(s[f"{name}/sharp"].mean())


def killed_at_work(directory, names):
    """A process that stamps each photograph with the number of its pass, until it is killed: the last pass that it
    reported."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with pymm.shelf("photographs", pmem_path=directory) as s:
            for turn in range(1, 1_000_000):
                for name in names:
                    with s.batch() as b:
                        b[f"{name}/passes"] = turn
                        b[f"{name}/shifted"] = np.roll(s[f"{name}/original"].asndarray(), turn, axis=1)
                os.write(writing, b"%d\n" % turn)
    os.close(writing)
    with os.fdopen(reading, "rb") as reports:
        turn = int(reports.readline())
        for _ in range(3):
            turn = int(reports.readline())
        os.kill(child, signal.SIGKILL)
        rest = reports.read().splitlines()
    os.waitpid(child, 0)
    return int(rest[-1]) if rest and rest[-1].isdigit() else turn


def main(directory):
    with pymm.shelf("photographs", pmem_path=directory, size_mb=64, force_new=True) as s:
        names = import_photographs(s)
        process(s, names)
        means = {name: s[f"{name}/mean"] for name in names}
    reported = killed_at_work(directory, names)
    with pymm.shelf("photographs", pmem_path=directory) as s:
        for name in names:
            turn = s[f"{name}/passes"]
            assert turn in (reported, reported + 1), (turn, reported)
            # What is committed together is there together.
            assert (s[f"{name}/shifted"] == np.roll(s[f"{name}/original"].asndarray(), turn, axis=1)).all()
            assert s[f"{name}/mean"] == means[name] == float(s[f"{name}/sharp"].mean())
            picture = os.path.join(directory, f"{name}.png")
            Image.fromarray(s[f"{name}/thumbnail"].asndarray()).save(picture)
            with Image.open(picture) as read:
                assert (np.asarray(read) == s[f"{name}/thumbnail"]).all()
            print(f"{name}: {s[f'{name}/original'].shape}, brightness {means[name]:.1f}, pass {turn} found after the kill")
        print(s)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        made = tempfile.mkdtemp(prefix="pymm-images-")
        try:
            main(made)
        finally:
            shutil.rmtree(made)
