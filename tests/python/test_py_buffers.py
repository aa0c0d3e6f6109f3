"""Objects with a buffer: stored as arrays of their elements and shape."""

import array
import ctypes
import mmap

import numpy as np
import pytest

import pymm


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int32), ("y", ctypes.c_double)]


def numbers(code, values=(1, 2, 3)):
    return array.array(code, values)


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_array_array(twice, code):
    value = numbers(code)
    for s in twice():
        if "x" not in s:
            s.x = value
        assert isinstance(s.x, pymm.ndarray.shelved_ndarray)
        assert s.x.tolist() == [1, 2, 3] and s.x.dtype.itemsize == value.itemsize
        assert s.x.dtype.kind == ("f" if code in "fd" else "i" if code.islower() else "u")


def test_bytes_like(twice):
    for s in twice():
        if "b" not in s:
            s.b = bytearray(b"abc")
            s.m = memoryview(b"abcdef")[::2]
            s.back = memoryview(b"abc")[::-1]
            s.empty = bytearray()
            s.two = memoryview(bytes(range(6))).cast("B", (2, 3))
            s.real = memoryview(array.array("d", [1.5, 2.5]))
        assert s.b.dtype == np.uint8 and bytes(s.b) == b"abc"
        assert bytes(s.m) == b"ace" and bytes(s.back) == b"cba"
        assert s.empty.shape == (0,) and s.empty.dtype == np.uint8
        assert s.two.tolist() == [[0, 1, 2], [3, 4, 5]]
        assert s.real.tolist() == [1.5, 2.5]


def test_it_is_a_copy_and_can_be_changed(shelf):
    value = bytearray(b"abc")
    shelf.b = value
    value[0] = 0
    value.append(1)  # no longer exported: nothing of ours holds it
    assert bytes(shelf.b) == b"abc"
    shelf.b += 1
    assert bytes(shelf.b) == b"bcd"
    with shelf.batch() as b:
        b["c"] = bytearray(b"xyz")
    assert bytes(shelf.c) == b"xyz"


def test_ctypes(twice):
    grid = ((ctypes.c_int16 * 3) * 2)((1, 2, 3), (4, 5, 6))
    points = (Point * 2)(Point(1, 1.5), Point(2, 2.5))
    for s in twice():
        if "grid" not in s:
            s.grid, s.points, s.one = grid, points, ctypes.c_double(2.5)
            s.swapped = (ctypes.c_uint32.__ctype_be__ * 2)(1, 2)
        assert s.grid.tolist() == [[1, 2, 3], [4, 5, 6]] and s.grid.dtype == np.int16
        assert s.points["x"].tolist() == [1, 2] and s.points["y"].tolist() == [1.5, 2.5]
        assert s.one.shape == () and s.one == 2.5
        assert s.swapped.tolist() == [1, 2]


def test_mmap(shelf, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as map_:
            shelf.x = map_
    assert bytes(shelf.x) == path.read_bytes()


class Bytes(bytes):
    pass


@pytest.mark.parametrize(
    "value",
    [
        (ctypes.py_object * 2)(1, 2), (ctypes.c_void_p * 2)(1, 2), ctypes.pointer(ctypes.c_int(1)),
        (ctypes.c_char_p * 2)(b"a", b"b"), Bytes(b"x"),
    ],
    ids=["objects", "addresses", "pointer", "strings", "subclass"],
)  # fmt: skip
def test_what_numpy_does_not_know_is_refused(shelf, value):
    shelf.x = 7
    used = shelf.used
    with pytest.raises(TypeError):
        shelf.x = value
    with pytest.raises(TypeError), shelf.batch() as b:
        b["x"] = value
    assert shelf.x == 7 and shelf.used == used


def test_a_released_view(shelf):
    view = memoryview(b"abc")
    view.release()
    with pytest.raises((ValueError, TypeError)):
        shelf.x = view
    assert "x" not in shelf


def test_bytes_stay_bytes(shelf):
    shelf.x = b"abc"
    assert shelf.x == b"abc" and isinstance(shelf.x, bytes)
    shelf.x = pymm.bytes(bytearray(b"abc"))
    assert shelf.x == b"abc" and isinstance(shelf.x, bytes)


def test_they_are_listed(shelf):
    assert {"memoryview", "bytearray", "array.array", "pymm.dlpack_array"} <= set(shelf.supported_types())
