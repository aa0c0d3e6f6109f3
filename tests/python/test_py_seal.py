"""Sealed variables, and shelves that record checksums."""

import gc
import json
import os
import shutil
import subprocess

import numpy as np
import pytest

import pymm


def info(shelf, name):
    """What pymmctl shows of a variable of a closed shelf."""
    program = os.environ.get("PYMMCTL") or shutil.which("pymmctl")
    assert program, "no pymmctl: set PYMMCTL, or run through scripts/env"
    path = f"{shelf._state.path}/{shelf.name}/{name}"
    return json.loads(subprocess.run([program, "info", "--json", path], check=True, capture_output=True).stdout)


def test_sealed_array_is_read_only(shelf, reopen):
    shelf.x = np.arange(10.0)
    shelf.x[3] = 7.0
    shelf.seal("x")
    for again in (False, True):
        s = reopen(shelf) if again else shelf
        assert s.x[3] == 7.0 and not s.x.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            s.x[0] = 1.0
        with pytest.raises(ValueError, match="read-only"):
            s.x += 1
        with pytest.raises(pymm.ReadOnlyError, match="erase it first"):
            s.x = np.zeros(3)
        with pytest.raises(PermissionError):
            s["x"] = 5
        assert s.x.sum() == 49.0
        s.seal("x")
    s.rename("x", "y")
    assert s.y[3] == 7.0 and not s.y.flags.writeable
    del s.y
    s.x = np.zeros(2)
    s.x += 1
    assert s.x.tolist() == [1.0, 1.0]


def test_not_while_an_array_is_in_use(shelf):
    shelf.x = np.arange(10.0)
    part = shelf.x[2:4]
    with pytest.raises(BufferError, match="writable view"):
        shelf.seal("x")
    with pytest.raises(pymm.PinnedError):
        shelf.seal("x")
    part[0] = 5.0
    assert shelf.x[2] == 5.0
    held = shelf.x
    del part
    with pytest.raises(BufferError):
        shelf.seal("x")
    assert shelf.x is held
    del held
    gc.collect()
    shelf.seal("x")
    assert shelf.x[2] == 5.0


def test_values_and_missing(shelf, reopen):
    shelf.n = 5
    shelf.text = "t" * 1000
    shelf.empty = np.zeros((0, 3))
    for name in ("n", "text", "empty"):
        shelf.seal(name)
    with pytest.raises(KeyError):
        shelf.seal("nothing")
    with pytest.raises(TypeError):
        shelf.seal(5)
    s = reopen(shelf)
    assert s.n == 5 and s.text == "t" * 1000 and s.empty.shape == (0, 3)
    with pytest.raises(pymm.ReadOnlyError):
        s.n += 1
    with pytest.raises(pymm.ReadOnlyError):
        with s.batch() as batch:
            batch["new"] = 1
            batch["n"] = 6
    assert s.n == 5 and "new" not in s
    with pytest.raises(pymm.ReadOnlyError):
        s.rename("text", "n", replace=True)
    with s.batch() as batch:
        del batch["n"]
        batch["n"] = 6
    assert s.n == 6


def test_checksums(namespace):
    s = pymm.shelf("c", pmem_path=namespace, size_mb=16, checksum=True)
    s.kept = np.arange(1000)
    s.opened = np.arange(1000)
    s.fortran = np.asfortranarray(np.ones((30, 40)))
    s.strided = np.arange(1000)[::3]
    s.made = pymm.ndarray((100,), dtype=np.int16)
    s.text = "text"
    s.opened[5] = 0
    s.close()
    for name in ("kept", "fortran", "strided", "made", "text"):
        assert info(s, name)["checksum"] is not None, name
    assert info(s, "opened")["checksum"] is None
    reader = pymm.shelf("c", pmem_path=namespace, mode="r")
    assert reader.kept[7] == 7 and reader.text == "text"
    reader.close()
    assert info(s, "kept")["checksum"] is not None
    s = pymm.shelf("c", pmem_path=namespace)
    assert s.kept[7] == 7
    s.opened = np.arange(3)
    s.close()
    assert info(s, "kept")["checksum"] is None
    assert info(s, "opened")["checksum"] is not None


def test_a_full_shelf_can_still_be_read(namespace):
    s = pymm.shelf("f", pmem_path=namespace, size_mb=1, checksum=True)
    count = 0
    with pytest.raises(MemoryError):
        while True:
            s[f"x{count}"] = np.full(512, count)
            count += 1
    for i in range(count):
        assert s[f"x{i}"][0] == i
    for i in range(0, count, 2):
        del s[f"x{i}"]
    assert all(s[f"x{i}"][0] == i for i in range(1, count, 2))
    s.close()
