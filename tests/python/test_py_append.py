"""Arrays that can be appended to."""

import os
import threading

import killed
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pymm

ROW = np.arange(8.0)


@pytest.fixture
def log(shelf):
    shelf.x = pymm.ndarray((0, 8), maxshape=(None, 8))
    return shelf


def test_rows_come_and_stay(log, reopen):
    s = log
    assert s.x.shape == (0, 8) and s.x.maxshape == (None, 8)
    expected = np.empty((0, 8))
    for i in range(300):
        more = np.arange(8.0 * (i % 5)).reshape(-1, 8) + i
        result = s.x.append(more)
        expected = np.concatenate([expected, more])
        assert result is s.x and result.shape == expected.shape
    assert isinstance(s.x, pymm.ndarray.shelved_ndarray)
    assert np.array_equal(s.x, expected)
    s = reopen(s)
    assert np.array_equal(s.x, expected) and s.x.maxshape == (None, 8)
    s.x.append(ROW)
    s.x[-1] += 1
    s = reopen(s, mode="r")
    assert s.x.shape == (len(expected) + 1, 8) and np.array_equal(s.x[-1], ROW + 1)
    with pytest.raises(pymm.ReadOnlyError):
        s.x.append(ROW)
    s.close()


def test_an_older_array_appends_to_the_variable_and_is_read_only(log):
    a = log.x
    b = a.append(ROW)
    c = a.append(ROW + 1)
    assert (a.shape, b.shape, c.shape) == ((0, 8), (1, 8), (2, 8)) and c is log.x
    assert np.array_equal(b.append(ROW + 2), [ROW, ROW + 1, ROW + 2])
    for old in (a, b):
        assert not old.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            old += 1
    log.x += 1
    assert np.array_equal(log.x, [ROW + 1, ROW + 2, ROW + 3])


def test_views_that_are_kept_keep_their_rows(log):
    kept = []
    for i in range(200):
        kept.append((i, log.x.append(ROW + i)[:]))
    for i, view in kept:
        assert view.shape == (i + 1, 8) and np.array_equal(view[:, 0], np.arange(i + 1.0))


def test_nothing_to_append(log):
    for rows in ([], np.empty((0, 8)), np.empty((0, 8), np.float32)):
        assert log.x.append(rows).shape == (0, 8)
    assert log.x.append(ROW).append([]).shape == (1, 8)


def test_what_is_not_the_variable_any_more(log):
    s = log
    for change in (
        lambda: setattr(s, "x", pymm.ndarray((0, 8), maxshape=(None, 8))),
        lambda: s.erase("x"),
        lambda: s.rename("y", "x", replace=True),
    ):
        s.x = pymm.ndarray((0, 8), maxshape=(None, 8))
        s.y = pymm.ndarray((1, 8), maxshape=(None, 8))
        a = s.x
        change()
        with pytest.raises(ValueError, match="former value"):
            a.append(ROW)
    s.x = pymm.ndarray((2, 8), maxshape=(None, 8))
    s.z = np.zeros((2, 8))
    s.l = [np.zeros((2, 8))]
    s.b = bytearray(8)
    for wrong in (s.x[1:], s.x.T, s.x[:, :4], s.x.reshape(-1), s.x + 0, s.z, s.l[0], s.b):
        with pytest.raises((ValueError, AttributeError)):
            wrong.append(ROW)
    assert s.z.maxshape == (2, 8) and s.x[1:].maxshape == (1, 8)
    assert s.x.shape == (2, 8)
    s.copy("x", "y", replace=True)
    assert s.y.append(ROW).shape == (3, 8) and s.x.shape == (2, 8)
    s.rename("y", "dir/y")
    assert s["dir/y"].append(ROW).shape == (4, 8)
    s.x = s.x.append(ROW)
    assert s.x.maxshape == (None, 8) and len(s.x) == 3
    s.x = np.zeros((2, 8))  # another variable
    assert s.x.maxshape == (2, 8)
    s.close()
    with pytest.raises(ValueError):
        a.append(ROW)


def test_sealed(log):
    log.x.append(ROW)
    log.seal("x")
    with pytest.raises(pymm.ReadOnlyError, match="sealed"):
        log.x.append(ROW)
    assert log.x.shape == (1, 8)


def test_limit(shelf, reopen):
    s = shelf
    s.x = pymm.ndarray((1,), np.int16, maxshape=(4,))
    assert s.x.append([1, 2]).tolist() == [0, 1, 2] and s.x.maxshape == (4,)
    s = reopen(s)
    with pytest.raises(ValueError, match="4 rows"):
        s.x.append([3, 4])
    assert s.x.append(3).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError):
        s.x.append(4)
    s.close()


def test_recipes_that_are_refused():
    for shape, maxshape, words in (
        ((2, 3), (None, None), "axis 1"),
        ((2, 3), (2, None), "axis 1"),
        ((2, 3), (None, 4), "axis 1"),
        ((2, 3), (None,), "axes"),
        ((), (), "axis"),
        ((5,), (4,), "room"),
        ((5,), (10**18,), "room"),
        ((5, 0), (None, 0), "no bytes"),
    ):
        with pytest.raises(ValueError, match=words):
            pymm.ndarray(shape, maxshape=maxshape)
    with pytest.raises(ValueError, match="order"):
        pymm.ndarray((2, 3), order="F", maxshape=(None, 3))
    with pytest.raises(ValueError, match="no bytes"):
        pymm.ndarray((2,), "V0", maxshape=(None,))
    with pytest.raises(TypeError):
        pymm.ndarray((2,), maxshape=("many",))
    assert "maxshape=(None, 3)" in repr(pymm.ndarray((2, 3), maxshape=(None, 3)))
    assert pymm.ndarray((2,), "(3,)f4", maxshape=(None, 3)).maxshape == (None, 3)


def test_conversions(shelf):
    def fresh(dtype, inner=()):
        shelf.x = pymm.ndarray((0, *inner), dtype, maxshape=(None, *inner))
        return shelf.x

    for dtype, rows, expected in (
        ("f4", [1, 2.5], [1, 2.5]),
        ("f4", np.arange(3.0), [0, 1, 2]),
        ("f4", 7, [7]),
        ("u1", [1, 255], [1, 255]),
        ("i8", np.arange(3, dtype="i4")[::-1], [2, 1, 0]),
        (">i2", [1, -2], [1, -2]),
        ("c8", 1.5, [1.5]),
        ("?", [True, False], [True, False]),
        ("U5", ["ab", "héllo"], ["ab", "héllo"]),
        ("U5", np.array(["ab"], "U9"), ["ab"]),
        ("S3", [b"abc"], [b"abc"]),
        ("M8[us]", np.array(["2026-01-02"], "M8[D]"), np.array(["2026-01-02"], "M8[us]")),
        ([("a", "i4"), ("b", "U2")], [(1, "x"), (2, "yz")], np.array([(1, "x"), (2, "yz")], [("a", "i4"), ("b", "U2")])),
    ):
        got = fresh(dtype).append(rows)
        assert got.dtype == np.dtype(dtype) and got.tolist() == np.asarray(expected).tolist()
    for dtype, rows, error in (
        ("i4", [1.5], TypeError),
        ("i4", np.array([2**40]), None),  # as NumPy: same_kind
        ("i4", [2**40], None),
        ("u1", [256], OverflowError),
        ("u1", [-1], OverflowError),
        ("f4", [1j], TypeError),
        ("f4", [None], TypeError),
        ("f4", ["1"], TypeError),
        ("U2", ["abc"], ValueError),
        ("U9", [1], TypeError),
        ("f4", np.ma.masked_array([1.0], [True]), TypeError),
        ("f4", np.zeros((2, 2)), ValueError),
    ):
        x = fresh(dtype)
        if error is None:
            x.append(rows)
            continue
        with pytest.raises(error):
            x.append(rows)
        assert shelf.x.shape == (0,)
    x = fresh("f8", (2, 3))
    assert x.append(np.ones((2, 3))).append(np.ones((4, 2, 3))).shape == (5, 2, 3)
    for shape in ((3,), (2, 2), (1, 1, 2, 3), (3, 2), (5, 3, 2)):
        with pytest.raises(ValueError, match="rows of shape"):
            shelf.x.append(np.ones(shape))
    assert shelf.x.append(shelf.x).shape == (10, 2, 3)
    memory = np.asarray(shelf.x)
    assert shelf.x.append(memory[::-1]).shape == (20, 2, 3)


def test_full(shelf):
    shelf.x = pymm.ndarray((0,), np.uint8, maxshape=(None,))
    with pytest.raises(MemoryError):
        while True:
            before = len(shelf.x.append(np.ones(1 << 20, np.uint8)))
    assert len(shelf.x) == before and shelf.x.all()
    del shelf.x
    shelf.y = 1


def test_threads(log):
    def work(number):
        for i in range(100):
            log.x.append(np.full((1 + i % 2, 8), number * 1000.0 + i))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    x = log.x
    assert len(x) == 4 * 150 and (x == x[:, :1]).all()
    for number in range(4):
        own = x[x[:, 0] // 1000 == number, 0] % 1000
        assert own.tolist() == [float(i) for i in range(100) for _ in range(1 + i % 2)]


def test_forked(log):
    x = log.x
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            x.append(ROW)
        except pymm.ClosedError:
            os.write(write, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    assert os.read(read, 100) == b"refused"
    os.close(read)
    assert log.x.append(ROW).shape == (1, 8)


def test_in_memory_shelves_and_checksums(namespace):
    for options in ({"backend": "mapstore"}, {"pmem_path": namespace, "checksum": True}):
        s = pymm.shelf("options", **options)
        s.x = pymm.ndarray((0, 8), maxshape=(None, 8))
        for i in range(100):
            s.x.append(ROW + i)
        assert np.array_equal(s.x[:, 0], np.arange(100.0))
        s.close()
    assert pymm.fsck(namespace, "options", scrub=True).exit_code == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["append", "append", "assign", "reopen", "store"]), st.integers(0, 300))),
)
def test_agrees_with_numpy(tmp_path_factory, steps):
    path = str(tmp_path_factory.mktemp("model"))
    s = pymm.shelf("m", pmem_path=path, size_mb=8)
    s.x = pymm.ndarray((0, 3), np.int32, maxshape=(None, 3))
    model = np.empty((0, 3), np.int32)
    for i, (step, n) in enumerate(steps):
        if step == "append":
            rows = np.full((n, 3), i, np.int32)
            s.x.append(rows)
            model = np.concatenate([model, rows])
        elif step == "assign":
            s.x = pymm.ndarray((n, 3), np.int32, maxshape=(None, 3))
            model = np.zeros((n, 3), np.int32)
        elif step == "store":
            s.x[n // 2 :] = i
            model[n // 2 :] = i
        else:
            s.close()
            s = pymm.shelf("m", pmem_path=path)
        assert np.array_equal(s.x, model)
    s.close()
    assert pymm.fsck(path, "m").exit_code == 0


PROGRAM = """
import sys
import numpy as np
import pymm
s = pymm.shelf("test", pmem_path=sys.argv[1])
x = s.x
for i in range(1, 10**9):
    x = x.append(np.full((i % 7 + 1, 8), i))
    print(i, flush=True)
"""


@pytest.mark.parametrize("after", [1, 40, 333])
def test_killed_while_appending(namespace, after):
    s = pymm.shelf("test", pmem_path=namespace, size_mb=64)
    s.x = pymm.ndarray((0, 8), maxshape=(None, 8))
    s.close()
    said = 0
    for _ in range(3):
        # Each run appends 1, 2, ... behind what the last one left.
        before = pymm.shelf("test", pmem_path=namespace)
        known = np.array(before.x)
        before.close()
        said = killed.acknowledged(PROGRAM, namespace, after)
        s = pymm.shelf("test", pmem_path=namespace)
        assert np.array_equal(s.x[: len(known)], known)
        new = np.array(s.x[len(known) :])
        last = int(new[-1, 0])
        assert said <= last <= said + 1
        expected = np.concatenate([np.full((i % 7 + 1, 8), float(i)) for i in range(1, last + 1)])
        assert np.array_equal(new, expected)
        s.close()
        assert pymm.fsck(namespace, "test").exit_code == 0


def test_padding_of_structures_is_zero(shelf):
    """What NumPy leaves there is whatever the heap held."""
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    shelf.r = pymm.ndarray((0,), dtype=dtype, maxshape=(None,))
    soiled = np.full(64 * dtype.itemsize, 0xAB, np.uint8).view(dtype)
    soiled["a"], soiled["b"] = 1, 2
    shelf.r.append(soiled[::2])
    shelf.r.append([(1, 2.0)] * 32)
    bytes_of_rows = np.asarray(shelf.r).view(np.uint8).reshape(64, dtype.itemsize)
    assert (shelf.r["a"] == 1).all() and (shelf.r["b"] == 2).all() and not bytes_of_rows[:, 1:8].any()
