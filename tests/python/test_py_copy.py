"""shelf.copy(): a second variable with the same content."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pymm

ARRAYS = [
    np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(12).reshape(3, 4)), np.zeros(0), np.array(5),
    np.array(["a", "bc"]), np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]), np.arange(1 << 19),
]  # fmt: skip
VALUES = [0, 10**400, 1.5, "héllo", "t" * 100_000, "", b"bytes", b"b" * 100_000, 1j, True, None, np.float32(1.5)]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: repr(v)[:20])
def test_values(shelf, twice, value):
    shelf.x = value
    shelf.copy("x", "y")
    for s in twice():
        assert s.x == s.y == value and type(s.y) is type(s.x)
    shelf.close()


def test_the_two_are_independent(shelf):
    shelf.x = np.arange(3)
    shelf.copy("x", "y")
    shelf.x += 1
    assert shelf.y.tolist() == [0, 1, 2]
    shelf.y *= 2
    del shelf.x
    assert shelf.y.tolist() == [0, 2, 4]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}-{a.shape}"[:30])
def test_arrays(shelf, reopen, array):
    shelf.x = array
    shelf.copy("x", "model/y")
    s = reopen(shelf)
    y = s["model/y"]
    assert y.dtype == array.dtype and y.shape == array.shape and y.strides == s.x.strides
    assert (y == array).all() and (y.size == 0 or y.addr != s.x.addr)
    if y.size:
        y.fill(y.flat[0])
        y[...] = np.zeros_like(array)
        assert (s.x == array).all()
    s.close()


def test_bytes_without_a_meaning(shelf):
    shelf._state.handle.put_value("r", b"\0\1\2" * 5000, 0)
    shelf.copy("r", "q")
    assert shelf.q.tobytes() == b"\0\1\2" * 5000 and [row[1] for row in shelf._state.handle.table(5)] == ["raw", "raw"]


@given(st.one_of(st.integers(), st.floats(), st.text(), st.binary(max_size=5000)))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value(shelf, value):
    shelf.x = value
    shelf.copy("x", "y", replace=True)
    assert repr(shelf.y) == repr(value) and type(shelf.y) is type(shelf.x)


def test_stores_that_are_not_persisted_are_copied(shelf):
    shelf.x = np.zeros(1000)
    shelf.x[5] = 7
    shelf.copy("x", "y")
    assert shelf.y[5] == 7


def test_an_existing_name(shelf):
    shelf.x, shelf.y = np.arange(3), "old"
    with pytest.raises(FileExistsError, match="copy 'x': 'y' exists"):
        shelf.copy("x", "y")
    with pytest.raises(pymm.ExistsError):
        shelf.copy("x", "x")
    assert shelf.y == "old"
    shelf.copy("x", "y", replace=True)
    held = shelf.y
    held += 1
    shelf.x = "other"
    shelf.copy("x", "y", replace=True)
    # What was replaced stays valid.
    assert shelf.y == "other" and held.tolist() == [1, 2, 3]
    shelf.y = np.arange(1000)
    shelf.copy("y", "y", replace=True)
    assert (shelf.y == np.arange(1000)).all() and shelf.items == ["x", "y"]


def test_names(shelf):
    shelf.x = 1
    with pytest.raises(KeyError, match="nothing"):
        shelf.copy("nothing", "y")
    for wrong in ("", "/", "a//b", "..", "x" * 1025):
        with pytest.raises(pymm.InvalidArgument):
            shelf.copy("x", wrong)
    for wrong in (1, None, b"y"):
        with pytest.raises(TypeError):
            shelf.copy("x", wrong)
        with pytest.raises(TypeError):
            shelf.copy(wrong, "y")
    assert shelf.items == ["x"]


def test_sealed_variables(shelf):
    shelf.x, shelf.y = np.arange(3), np.zeros(3)
    shelf.seal("x")
    shelf.copy("x", "z")
    shelf.z += 1
    assert shelf.z.tolist() == [1, 2, 3] and not shelf.x.flags.writeable
    with pytest.raises(pymm.ReadOnlyError):
        shelf.copy("y", "x", replace=True)
    assert shelf.x.tolist() == [0, 1, 2]


def test_the_checksum_of_the_source_stays(namespace):
    with pymm.shelf("sums", pmem_path=namespace, size_mb=4, checksum=True) as s:
        s.x = np.arange(1000)
        s.copy("x", "y")
        assert [entry["checksum"] is not None for entry in s._state.handle.entries()] == [True, True]
    report = pymm.fsck(namespace, "sums", scrub=True)
    assert report.clean and report["sums"].scrubbed == 2


def test_a_full_shelf(shelf):
    shelf.x = np.arange(1 << 20)
    used = shelf.used
    with pytest.raises(pymm.NoSpaceError):
        shelf.copy("x", "y")
    assert shelf.items == ["x"] and shelf.used == used and shelf.x[-1] == (1 << 20) - 1


def test_read_only_and_closed(shelf, reopen):
    shelf.x = 1
    s = reopen(shelf, "r")
    with pytest.raises(pymm.ReadOnlyError):
        s.copy("x", "y")
    s.close()
    with pytest.raises(pymm.ClosedError):
        s.copy("x", "y")


def test_durable_when_it_returns(namespace, child):
    process = child(
        """
        import os, sys, numpy as np, pymm
        s = pymm.shelf("test", pmem_path=sys.argv[1], size_mb=4)
        s.x = np.arange(10000)
        s.copy("x", "y")
        print("done", flush=True)
        sys.stdin.readline()
        """,
        namespace,
    )
    assert process.line() == "done"
    process.kill()
    s = pymm.shelf("test", pmem_path=namespace)
    assert s.items == ["x", "y"] and (s.y == np.arange(10000)).all()
    s.close()
    assert pymm.fsck(namespace).clean
