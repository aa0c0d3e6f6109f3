"""Saving and loading a state_dict of 90 MiB against what else keeps one.

    scripts/env python perf/checkpoints.py [DIRECTORY]...

Contestants take turns; each has the median of its rounds, with the ratio to the first one. Every save is durable when it is
timed as done, files with the name that they get. Of six saves in turn the first, the third (the first to each place that was
written before) and the sixth are shown. Loads are made by fresh processes, timed from when their modules are imported to when every tensor is at hand
("load"), and to when every byte was looked at ("load and sum"); the files are in the page cache. Without a DIRECTORY: /dev/shm
and the directory for temporary files. PMEM2_FORCE_GRANULARITY=CACHE_LINE makes a shelf in /dev/shm one in persistent
memory. What a contestant needs is installed by scripts/setup --torch --pandas --peers; those without it say so.
"""

import collections
import importlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

import pymm

MIB = 1 << 20
ROUNDS = int(os.environ.get("PYMM_PERF_ROUNDS", "7"))
CAPACITY = 512  # MiB


def module(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


torch = module("torch")


def state():
    """Weights and biases of a network: 90 MiB in 68 tensors; NumPy's arrays where there is no PyTorch."""
    random = np.random.default_rng(1)
    arrays = collections.OrderedDict()
    arrays["embedding.weight"] = random.random((2560, 1024), np.float32)
    for i in range(20):
        arrays[f"block.{i}.weight"] = random.random((1024, 1024), np.float32)
        arrays[f"block.{i}.bias"] = random.random(1024, np.float32)
        arrays[f"block.{i}.norm"] = random.random(1024, np.float32)
    for i in range(7):
        arrays[f"counter.{i}"] = random.integers(0, 9, 5)
    return arrays if torch is None else collections.OrderedDict((k, torch.from_numpy(v)) for k, v in arrays.items())


def as_numpy(value):
    return {k: np.asarray(v) for k, v in value.items()}


def synced(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class Shelf:
    """One shelf; `copy` as of shelf.load()."""

    needs = ()

    def __init__(self, directory, copy=True):
        self.directory, self.copy = directory, copy

    def fresh(self):
        self.shelf = pymm.shelf("perf", pmem_path=self.directory, size_mb=CAPACITY, mode="w")

    def save(self, value):
        self.shelf.save(value, "model")

    def close(self):
        self.shelf.close()
        del self.shelf

    def load(self):
        self.opened = pymm.shelf("perf", pmem_path=self.directory, mode="r")
        return dict(self.opened.load("model", copy=self.copy).items())


class Views(Shelf):
    """Looks at the tensors where they are."""

    def __init__(self, directory):
        super().__init__(directory, copy=False)


class RawCopy(Shelf):
    """As many bytes, as one array: what any save on this shelf must write."""

    def save(self, value):
        if not hasattr(self, "bytes"):
            self.bytes = np.concatenate([array.reshape(-1).view(np.uint8) for array in as_numpy(value).values()])
        self.shelf.raw = self.bytes


class File:
    """A file that is written beside, synced and renamed."""

    suffix = ""

    def __init__(self, directory):
        self.path = os.path.join(directory, type(self).__name__ + self.suffix)

    def fresh(self):
        if os.path.exists(self.path):
            os.unlink(self.path)

    def save(self, value):
        beside = self.path + ".new" + self.suffix
        self.write(beside, value)
        synced(beside)
        os.rename(beside, self.path)
        synced(os.path.dirname(self.path))

    def close(self):
        pass


class TorchSave(File):
    needs = ("torch",)

    def write(self, path, value):
        torch.save(value, path)

    def load(self):
        return torch.load(self.path)


class TorchMmap(TorchSave):
    needs = ("torch",)

    def load(self):
        return torch.load(self.path, mmap=True)


class Safetensors(File):
    needs = ("safetensors",)

    def library(self):
        return importlib.import_module("safetensors.torch" if torch is not None else "safetensors.numpy")

    def write(self, path, value):
        self.library().save_file(dict(value), path)

    def load(self):
        return self.library().load_file(self.path)


class NumpySavez(File):
    needs = ()
    suffix = ".npz"

    def write(self, path, value):
        np.savez(path, **as_numpy(value))

    def load(self):
        with np.load(self.path) as file:
            return {name: file[name] for name in file.files}


class Hdf5(File):
    needs = ("h5py",)

    def write(self, path, value):
        with module("h5py").File(path, "w") as file:
            for name, array in as_numpy(value).items():
                file[name] = array

    def load(self):
        with module("h5py").File(self.path, "r") as file:
            return {name: file[name][()] for name in file}


class Lmdb:
    """One transaction per save; types and shapes are known to the reader."""

    needs = ("lmdb",)

    def __init__(self, directory):
        self.directory = os.path.join(directory, "lmdb")
        self.types = {name: (array.dtype, array.shape) for name, array in as_numpy(STATE).items()}

    def open(self, **options):
        return module("lmdb").open(self.directory, map_size=CAPACITY * MIB, **options)

    def fresh(self):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.env = self.open()

    def save(self, value):
        with self.env.begin(write=True) as transaction:
            for name, array in as_numpy(value).items():
                transaction.put(name.encode(), memoryview(array).cast("B") if array.size else b"")

    def close(self):
        self.env.close()

    def load(self):
        self.env = self.open(readonly=True)
        with self.env.begin() as transaction:
            return {
                name: np.frombuffer(transaction.get(name.encode()), dtype).reshape(shape)
                for name, (dtype, shape) in self.types.items()
            }


SAVERS = {
    "pymm": Shelf, "raw copy to the shelf": RawCopy, "torch.save": TorchSave, "safetensors": Safetensors,
    "numpy.savez": NumpySavez, "HDF5": Hdf5, "LMDB": Lmdb,
}  # fmt: skip
LOADERS = {
    "pymm, views": Views, "pymm": Shelf, "torch.load": TorchSave, "torch.load mmap": TorchMmap, "safetensors": Safetensors,
    "numpy.load": NumpySavez, "HDF5": Hdf5, "LMDB": Lmdb,
}  # fmt: skip
STATE = state()


def present(classes):
    return {label: cls for label, cls in classes.items() if all(module(name) is not None for name in cls.needs)}


def show(title, taken):
    medians = {label: statistics.median(times) for label, times in taken.items()}
    first = next(iter(medians.values()))
    cells = [f"{label} {ms:,.2f}" + ("" if i == 0 else f" ({ms / first:.2f}x)") for i, (label, ms) in enumerate(medians.items())]
    print(f"  {title:14}  " + "   ".join(cells), flush=True)


def saving(directory):
    savers = {label: cls(directory) for label, cls in present(SAVERS).items()}
    first, third, again = ({label: [] for label in savers} for _ in range(3))
    for turn in range(ROUNDS + 1):
        for label, saver in savers.items():
            saver.fresh()
            for shown in (first, None, third, None, None, again):
                start = time.perf_counter()
                saver.save(STATE)
                if turn and shown is not None:
                    shown[label].append((time.perf_counter() - start) * 1e3)
            saver.close()
    show("first save", first)
    show("third save", third)
    show("repeated save", again)


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
import checkpoints as perf
for name in ("torch", "safetensors.torch", "safetensors.numpy", "h5py", "lmdb"):
    perf.module(name)
if perf.torch is not None:
    perf.pymm.torch_tensor.shelved_torch_tensor  # imports what is for tensors
loader = perf.LOADERS[sys.argv[2]](sys.argv[3])
start = time.perf_counter()
found = loader.load()
loaded = time.perf_counter()
total = sum(float(value.sum()) for value in found.values())
summed = time.perf_counter()
print((loaded - start) * 1e3, (summed - start) * 1e3, len(found), total)
"""


def loading(directory):
    loaders = present(LOADERS)
    for cls in {cls for cls in loaders.values() if cls is not Views}:
        saver = cls(directory)
        saver.fresh()
        saver.save(STATE)
        saver.close()
    loaded, summed = ({label: [] for label in loaders} for _ in range(2))
    expected = None
    for turn in range(ROUNDS + 1):
        for label in loaders:
            command = [sys.executable, "-c", CHILD, os.path.dirname(os.path.abspath(__file__)), label, directory]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            load, both, count, total = map(float, done.stdout.split())
            expected = expected or (count, total)
            if count != expected[0] or abs(total - expected[1]) > 1e-3 * abs(total):
                raise SystemExit(f"{label} loaded something else: {count} tensors, sum {total}; expected {expected}")
            if turn:
                loaded[label].append(load)
                summed[label].append(both)
    show("load", loaded)
    show("load and sum", summed)


def main(directories):
    for label, cls in {**SAVERS, **LOADERS}.items():
        for name in cls.needs:
            if module(name) is None:
                print(f"without {label}: {name} is not installed")
    size = sum(array.nbytes for array in as_numpy(STATE).values()) / MIB
    for base in directories:
        directory = tempfile.mkdtemp(prefix="pymm-perf-", dir=base)
        try:
            with pymm.shelf("perf", pmem_path=directory, size_mb=8) as s:
                granularity = s._state.handle.stat()["granularity"]
            print(f"{base}, granularity {granularity}: {len(STATE)} {'arrays' if torch is None else 'tensors'} of {size:.0f} MiB; "
                  f"medians of {ROUNDS} in ms, ratio to the first")
            saving(directory)
            loading(directory)
        finally:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main(sys.argv[1:] or [d for d in ("/dev/shm", tempfile.gettempdir()) if os.path.isdir(d)])
