"""Sorts in place an array that is larger than the memory the process may have.

Usage: scripts/env python examples/python/larger_than_memory.py [DIRECTORY]

The array is a variable on a shelf, so its pages are those of the shelf's file: the kernel reads what is used and
writes back what was changed, and the process needs no more memory than a limit allows. The limit is that of a control
group (cgroups(7), either version), made for the occasion; without the right to make one, the example says so, and
sorts without a limit. On a tmpfs pages are memory, so DIRECTORY must be on a disk.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

import pymm

MIB = 1 << 20
LIMIT = 160 * MIB
SIZE = 2 * LIMIT


class Cgroup:
    """A control group below our own, with a limit of memory."""

    def __init__(self, limit):
        for line in open("/proc/self/cgroup"):
            number, controllers, path = line.strip().split(":", 2)
            if controllers == "memory":
                base, knob = "/sys/fs/cgroup/memory" + path, "memory.limit_in_bytes"
            elif number == "0" and os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
                base, knob = "/sys/fs/cgroup" + path, "memory.max"
            else:
                continue
            self.path = os.path.join(base, f"pymm-example-{os.getpid()}")
            os.mkdir(self.path)
            try:
                with open(os.path.join(self.path, knob), "w") as file:
                    file.write(str(limit))
            except OSError:
                os.rmdir(self.path)
                raise
            return
        raise OSError("there is no controller of memory")

    def enter(self):
        with open(os.path.join(self.path, "cgroup.procs"), "w") as file:
            file.write(str(os.getpid()))

    def remove(self):
        for _ in range(50):
            try:
                return os.rmdir(self.path)
            except OSError:  # its last process is on its way out
                time.sleep(0.1)


def fill(directory):
    """In pieces: nobody ever holds all of it."""
    rng = np.random.default_rng(1)
    with pymm.shelf("large", pmem_path=directory, size_mb=SIZE // MIB + 64, force_new=True) as s:
        s.x = pymm.ndarray(SIZE // 8, dtype=np.int64)
        total = 0
        for at in range(0, SIZE // 8, MIB):
            piece = rng.integers(-(1 << 62), 1 << 62, min(MIB, SIZE // 8 - at))
            s.x[at : at + len(piece)] = piece
            total ^= int(np.bitwise_xor.reduce(piece))
        s.total = total


def sort(directory):
    with pymm.shelf("large", pmem_path=directory) as s:
        s.x.sort()  # durable when it returns


def check(directory):
    with pymm.shelf("large", pmem_path=directory, mode="r") as s:
        x, total = s.x, s.total
        last = x[0]
        for at in range(0, len(x), MIB):
            piece = x[at : at + MIB].asndarray()
            assert last <= piece[0] and (piece[:-1] <= piece[1:]).all(), "not in order"
            last = piece[-1]
            total ^= int(np.bitwise_xor.reduce(piece))
        assert total == 0, "not the same numbers"


def main(directory):
    statfs = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True).stdout.strip()
    group = None
    if statfs == "tmpfs":
        print(f"without a limit: {directory} is a tmpfs, whose files are memory")
    else:
        try:
            group = Cgroup(LIMIT)
        except OSError as error:
            print(f"without a limit: no control group can be made here ({error})")
    try:
        for step in (fill, sort, check):
            start = time.monotonic()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    if group is not None:
                        group.enter()
                    step(directory)
                    code = 0
                finally:
                    os._exit(code)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert status == 0, f"{step.__name__}: ended with {status}"
            print(f"{step.__name__:5} {time.monotonic() - start:6.1f} s")
    finally:
        if group is not None:
            group.remove()
    limit = "" if group is None else f", in processes limited to {LIMIT // MIB} MiB"
    print(f"{SIZE // MIB} MiB sorted in place on the shelf{limit}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        made = tempfile.mkdtemp(prefix="pymm-larger-")
        try:
            main(made)
        finally:
            shutil.rmtree(made)
