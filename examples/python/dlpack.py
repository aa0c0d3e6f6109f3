"""One shelf, one piece of memory, and whatever speaks DLPack: shared without a copy, and still there after a kill.

Usage: scripts/env python examples/python/dlpack.py [DIRECTORY]

A process keeps an array on a shelf and gives it to all consumers of DLPack that it finds: NumPy, PyTorch, JAX, and 40
lines of ctypes that stand for an extension in C. Each of them has the array at the shelf's own address; what one stores all
the others see, and after persist() it is durable. A second process opens the shelf read-only beside it: what it gives
to consumers are private pages of the same file, since not all of them know memory that must not be stored to, and
what they store there reaches nobody. Then the first process is killed with SIGKILL at its work, and what it
acknowledged is found on the shelf.
"""

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

import pymm

COUNT = 4096  # elements of a row; each consumer stores to a row of its own


class DLTensor(ctypes.Structure):
    """And behind it, in a DLManagedTensor, who frees it."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager_context", ctypes.c_void_p),
        ("deleter", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    ]


class Extension:
    """What an extension in C does with a capsule: takes the tensor out, and frees it when it is done."""

    OFFERED, TAKEN = b"dltensor", b"used_dltensor"  # a capsule keeps no copy of its name
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
    set_name = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))

    def __init__(self, source):
        capsule = source.__dlpack__()
        self.at = self.get_pointer(capsule, self.OFFERED)
        self.tensor = DLTensor.from_address(self.at)
        self.set_name(capsule, self.TAKEN)
        found = self.tensor
        assert (found.device_type, found.code, found.bits, found.lanes, found.ndim) == (1, 2, 32, 1, 2), "not a float32 matrix"
        # No strides: rows one behind the other.
        assert not found.strides or found.strides[0] == found.shape[1], "not contiguous"
        self.address = found.data + found.byte_offset
        self.rows = (ctypes.c_float * found.shape[1] * found.shape[0]).from_address(self.address)

    def __del__(self):
        self.tensor.deleter(self.at)


class Consumer:
    """An array as a library sees it. `fill` is None where the library cannot store to it."""

    def __init__(self, name, address, load, fill):
        self.name, self.address, self.load, self.fill = name, address, load, fill


def consumers(x, say=lambda text: None):
    """All that are there, each with the array `x` by its `__dlpack__`."""
    y = np.from_dlpack(x)
    # NumPy before 2.1 takes all that it is given for read-only.
    fill = y.__setitem__ if y.flags.writeable else None
    found = [Consumer(f"NumPy {np.__version__}", y.__array_interface__["data"][0], lambda row, i: float(y[row, i]), fill)]

    extension = Extension(x)

    def fill_extension(row, value):
        extension.rows[row][:] = [value] * COUNT

    found.append(Consumer("ctypes", extension.address, lambda row, i: extension.rows[row][i], fill_extension))

    try:
        import torch
    except ImportError:
        say("skipped: PyTorch is not installed")
    else:
        t = torch.from_dlpack(x)
        found.append(Consumer(f"PyTorch {torch.__version__}", t.data_ptr(), lambda row, i: t[row, i].item(), lambda row, value: t[row].fill_(value)))

    try:
        import jax
    except ImportError:
        say("skipped: JAX is not installed")
    else:
        j = jax.dlpack.from_dlpack(x)  # its arrays are never stored to
        found.append(Consumer(f"JAX {jax.__version__}", j.unsafe_buffer_pointer(), lambda row, i: float(j[row, i]), None))
    return found


def owner(directory):
    """Stores the number of its round through each consumer; after round 1 it waits for a line, then goes on until it is
    killed. Says what it found, and each round that is durable."""
    with pymm.shelf("shared", pmem_path=directory, size_mb=8, force_new=True) as s:
        s.x = pymm.dlpack_array((8, COUNT), dtype=np.float32)
        everybody = consumers(s.x, lambda text: print(text, flush=True))
        for each in everybody:
            assert each.address == s.x.addr, f"{each.name} has made a copy"
            print(f"{each.name}: the same memory{'' if each.fill else ', to be read'}", flush=True)
        writers = [each for each in everybody if each.fill]
        s.writers = len(writers)
        value = 0
        while True:
            value += 1
            for row, writer in enumerate(writers):
                writer.fill(row, value)
                for each in everybody:
                    i = random.randrange(COUNT)
                    assert each.load(row, i) == value, f"{each.name} does not see what {writer.name} stored"
                    assert s.x[row, i] == value
            s.x.persist()
            print(f"round {value}", flush=True)
            if value == 1:
                sys.stdin.readline()


def mapping_of(address):
    """The line of /proc/self/maps that an address is in."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        for line in maps:
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            if begin <= address < end:
                return line.split()
    raise AssertionError("at no mapping")


def reader(directory):
    """Beside the owner, which has finished round 1 and waits."""
    with pymm.shelf("shared", pmem_path=directory, mode="r") as s:
        rows = range(s.writers)
        everybody = consumers(s.x)
        for each in everybody:
            assert all(each.load(row, i) == 1 for row in rows for i in (0, COUNT - 1)), f"{each.name} does not read what was stored"
            where = mapping_of(each.address)
            assert where[1][3] == "p" and where[-1].endswith("shared.data"), f"{each.name} has made a copy: {where}"
        try:
            s.x[0, 0] = 5
        except ValueError:
            pass
        else:
            raise AssertionError("a reader has stored to the shelf")
        stored = 0
        for each in everybody:
            if each.fill:
                each.fill(0, -1)
                assert each.load(0, 0) == -1
                stored += 1
        with pymm.shelf("shared", pmem_path=directory, mode="r") as again:
            assert (s.x[: s.writers] == 1).all() and (again.x[: s.writers] == 1).all(), "a reader's store reached the shelf"
    print(f"a second process read it through {len(everybody)} consumers, from pages of the shelf's file; "
          f"what {stored} of them stored there stayed theirs", flush=True)


def run(role, directory, **options):
    return subprocess.Popen([sys.executable, os.path.abspath(__file__), directory, role], text=True, **options)


def main(directory):
    child = run("owner", directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    acknowledged = 0
    for line in child.stdout:
        if not line.startswith("round "):
            print(line, end="", flush=True)
            continue
        acknowledged = int(line.split()[1])
        if acknowledged == 1:
            assert run("reader", directory).wait() == 0
            child.stdin.write("\n")
            child.stdin.flush()
        if acknowledged == 20:
            time.sleep(random.random() * 0.01)
            child.send_signal(signal.SIGKILL)
            break
    # A last line may be torn; then it was not said.
    rest = child.stdout.read().split("\n")[:-1]
    assert child.wait() == -signal.SIGKILL, child.returncode
    if rest:
        acknowledged = int(rest[-1].split()[1])

    with pymm.shelf("shared", pmem_path=directory) as s:
        assert s.writers >= 1
        found = s.x[: s.writers]
        # What comes after the last persist() may be there, too, in part: stores are atomic in transactions only.
        assert ((found == acknowledged) | (found == acknowledged + 1)).all(), (acknowledged, np.unique(found))
        assert not s.x[s.writers :].any()
        for each in consumers(s.x):
            assert each.address == s.x.addr
            assert each.load(0, 0) in (acknowledged, acknowledged + 1)
    print(f"killed after round {acknowledged}: all of it was found on the shelf")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        {"owner": owner, "reader": reader}[sys.argv[2]](sys.argv[1])
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        made = tempfile.mkdtemp(prefix="pymm-dlpack-")
        try:
            main(made)
        finally:
            shutil.rmtree(made)
