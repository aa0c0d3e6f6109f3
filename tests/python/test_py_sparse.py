"""Sparse matrices and arrays of SciPy on a shelf."""

import subprocess
import sys

import numpy as np
import pytest

import pymm

sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")

FORMATS = ["csr", "csc", "coo", "bsr", "dia"]
CLASSES = [getattr(sparse, f"{form}_{kind}") for form in FORMATS for kind in ("matrix", "array")]


def arrays_of(value):
    names = {"coo": ("data", "row", "col"), "dia": ("data", "offsets")}.get(value.format, ("data", "indices", "indptr"))
    return [getattr(value, name) for name in names]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "i8", "?"])
def test_every_format(shelf, reopen, cls, dtype):
    plain = cls(sparse.random(30, 20, 0.2, random_state=3).astype(dtype))
    if cls.__name__.startswith("bsr"):
        plain = plain.tobsr((3, 2)) if cls.__name__.endswith("matrix") else cls(plain, blocksize=(3, 2))
    empty = cls((0, 4) if not cls.__name__.startswith(("bsr", "dia")) else (2, 4), dtype=dtype)
    shelf.x, shelf.n, shelf.empty = plain, {"a": [plain]}, empty
    s = reopen(shelf)
    block = s._state.handle.get("x")
    for found in (s.x, s.n["a"][0], s.n.plain()["a"][0]):
        assert type(found) is cls and found.dtype == plain.dtype and found.shape == plain.shape
        assert (found.toarray() == plain.toarray()).all()
        for a, b in zip(arrays_of(found), arrays_of(plain)):
            assert a.dtype == b.dtype and (a == b).all()
    for array in arrays_of(s.x):
        assert not array.flags.writeable
        assert block.address <= array.__array_interface__["data"][0] < block.address + block.size
    assert s.empty.shape == empty.shape and s.empty.nnz == 0
    v = np.arange(20).astype(dtype)
    assert np.allclose(s.x @ v, plain @ v) and np.allclose((s.x.T @ s.x).toarray(), (plain.T @ plain).toarray())
    with pytest.raises(ValueError, match="read-only"):
        s.x.data[...] = 0
    s.close()


def test_it_is_not_changed_by_what_is_done_with_it(shelf):
    shelf.x = sparse.random(10, 10, 0.3, format="csr", random_state=3)
    x = shelf.x
    x = x * 2
    assert (shelf.x * 2 != x).nnz == 0
    shelf.x = x
    assert (shelf.x != x).nnz == 0
    y = shelf.x.copy()
    y.data[:] = 1
    shelf.x = y
    assert shelf.x.sum() == y.nnz


def test_checkpoints(shelf):
    x = sparse.random(10, 10, 0.3, format="csr", random_state=3)
    shelf.save({"x": x}, "c")
    future = shelf.save_async({"x": x}, "c")
    x.data[:] = 0
    future.result(timeout=60)
    for version in (1, 2):
        if version == 2:
            assert shelf.load("c")["x"].sum() > 0 and shelf.load("c", copy=False)["x"].sum() > 0


def test_what_is_refused(shelf):
    for form in ("lil", "dok"):
        with pytest.raises(TypeError, match=r"tocsr\(\)"):
            shelf.x = sparse.random(3, 3, 0.5, format=form)
        with pytest.raises(TypeError, match=r"x\[0\].*tocsr\(\)"):
            shelf.x = [sparse.random(3, 3, 0.5, format=form)]
    assert "x" not in shelf


def test_without_scipy(shelf, namespace):
    shelf.x = [1, sparse.csr_matrix((3, 3)), "text"]
    shelf.close()
    program = f"""
import sys
sys.modules["scipy"] = None
import pymm
s = pymm.shelf('test', pmem_path={namespace!r})
assert s.x[0] == 1 and s.x[2] == 'text'
try:
    s.x[1]
except ImportError as error:
    assert error.name == "scipy" and "pip install scipy" in str(error), error
else:
    raise AssertionError("a matrix without SciPy")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_nothing_is_imported_before(namespace):
    program = f"""
import sys, numpy as np, pymm
s = pymm.shelf('test', pmem_path={namespace!r}, size_mb=8)
s.x = [1, np.arange(3), {{"a": "b"}}]
s.x, s.x.plain(), s.supported_types(), repr(s), s.save([1], "c"), s.load("c")
assert not {{"pandas", "scipy", "torch", "pyarrow", "pickle5", "safetensors"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
