"""shelf.erase(): by name, and by the object that the shelf gave."""

import copy

import numpy as np
import pytest

import pymm


@pytest.fixture
def other(namespace):
    s = pymm.shelf("other", pmem_path=namespace, size_mb=4)
    yield s
    s.close()


VALUES = [5, 1.5, b"bytes", b"b" * 10_000, 1j, np.float32(1.5), np.arange(3), np.zeros((100, 100)), np.zeros(0)]
every = pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{type(v).__name__}-{getattr(v, 'size', '')}")


@every
def test_by_object(shelf, reopen, value):
    shelf.x = shelf.y = value
    shelf.erase(shelf.x)
    assert shelf.items == ["y"] and not hasattr(shelf, "x")
    s = reopen(shelf)
    assert s.items == ["y"]
    s.erase(s["y"])
    assert s.items == []
    s.close()


@every
def test_another_shelf_s_object_is_refused(shelf, other, value):
    # The same name, and the same place in the history of the shelf.
    shelf.x = value
    other.x = value
    with pytest.raises(pymm.InvalidArgument, match="not on shelf 'test'"):
        shelf.erase(other.x)
    with pytest.raises(ValueError, match="'x'"):
        other.erase(shelf.x)
    assert shelf.items == ["x"] == other.items


@every
def test_a_former_value_is_refused(shelf, value):
    for change in (
        lambda: setattr(shelf, "x", value),
        lambda: shelf.rename("x", "y"),
        lambda: (shelf.erase("x"), setattr(shelf, "x", value)),
        lambda: shelf.copy("z", "x", replace=True),
    ):
        shelf.x = shelf.z = value
        old = shelf.x
        change()
        before = shelf.items
        with pytest.raises(pymm.InvalidArgument, match="former value: 'x'"):
            shelf.erase(old)
        assert shelf.items == before
    shelf.x = value
    old = shelf.x
    shelf.erase(old)
    with pytest.raises(pymm.InvalidArgument, match="former value"):
        shelf.erase(old)


@every
def test_after_a_rename_by_its_new_object(shelf, value):
    shelf.x = value
    shelf.rename("x", "y")
    shelf.erase(shelf.y)
    assert shelf.items == []


def test_a_part_of_an_array_is_refused(shelf):
    shelf.x = np.zeros((4, 4))
    for part in (shelf.x[1:], shelf.x[0], shelf.x.T, shelf.x.view(np.int64), shelf.x[:, :2]):
        with pytest.raises(pymm.InvalidArgument, match="view"):
            shelf.erase(part)
    # All of it in the same shape is the variable, whatever object shows it.
    shelf.erase(shelf.x[:])
    assert shelf.items == []


def test_the_array_that_was_erased_stays_valid(shelf):
    shelf.x = np.arange(5)
    held = shelf.x
    shelf.erase(held)
    shelf.y = np.zeros(5, int)
    assert held.tolist() == [0, 1, 2, 3, 4]


def test_a_shelved_string_could_mean_both(shelf):
    shelf.x, shelf.current = "text", "x"
    for value in (shelf.x, shelf.current):
        with pytest.raises(pymm.InvalidArgument, match="str\\(value\\), or value.name"):
            shelf.erase(value)
    assert shelf.items == ["current", "x"]
    shelf.erase(str(shelf.current))
    assert shelf.items == ["current"]
    shelf.erase(shelf.current.name)
    assert shelf.items == []


def test_what_is_of_no_shelf(shelf):
    shelf.x, shelf.n = np.arange(3), 5
    for value in (np.arange(3), 5, 1.5, b"x", None, True, ["x"], shelf.x + 1, shelf.n + 1, copy.copy(shelf.n), shelf.x.asndarray()):
        with pytest.raises(TypeError):
            shelf.erase(value)
    with pytest.raises(pymm.InvalidArgument, match="not on a shelf"):
        shelf.erase(pymm.ndarray.shelved_ndarray((3,)))
    assert shelf.items == ["n", "x"]


def test_by_names_that_are_methods(shelf):
    shelf["items"], shelf["copy"] = np.arange(3), 5
    shelf.erase(shelf["items"])
    shelf.erase(shelf["copy"])
    assert len(shelf) == 0


def test_after_closing(shelf, reopen):
    shelf.x, shelf.n = np.arange(3), 5
    array, number = shelf.x, shelf.n
    s = reopen(shelf)
    # The array kept the shelf open beneath; either way nothing but the variable itself can be meant.
    for value in (array, number):
        try:
            s.erase(value)
        except pymm.InvalidArgument:
            s.erase(value.name)
    assert s.items == []
    s.close()
    with pytest.raises(pymm.ClosedError):
        s.erase("x")


def test_on_a_read_only_shelf(shelf, reopen):
    shelf.x, shelf.n = np.arange(3), 5
    s = reopen(shelf, "r")
    for value in (s.x, s.n, "x"):
        with pytest.raises(pymm.ReadOnlyError):
            s.erase(value)
    s.close()
