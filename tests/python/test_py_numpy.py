"""Where shelved arrays behave as NumPy's own, among what its test suite (numpy_suite) found."""

import ctypes

import numpy as np
import pytest

import pymm
from pymm import _pymm


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_operators_of_a_matrix_go_first(shelf):
    """`*` with a matrix on the right is its product, though numpy.matrix is no subclass of ours."""
    plain = np.arange(4.0).reshape(2, 2)
    matrix = np.matrix([[1, 2], [3, 4]])
    shelf.x = plain
    assert (shelf.x * matrix).tolist() == (plain * matrix).tolist() == (plain @ matrix).tolist()
    assert (matrix * shelf.x).tolist() == (matrix * plain).tolist()
    assert type(shelf.x + matrix) is type(plain == matrix) is type(shelf.x == matrix) is np.matrix


@pytest.mark.parametrize("name", "add sub mul truediv floordiv mod divmod pow lshift rshift and or xor matmul".split())
def test_reflected_operators_of_a_subclass_go_first(shelf, name):
    asked = []

    def reflected(self, other):
        asked.append(type(other))
        return "reflected"

    other = np.ones(3, int).view(type("Other", (np.ndarray,), {f"__r{name}__": reflected}))
    shelf.x = np.ones(3, int)
    function = divmod if name == "divmod" else getattr(__import__("operator"), f"__{name}__")
    assert function(np.ones(3, int), other) == function(shelf.x, other) == "reflected"
    assert asked == [np.ndarray, np.ndarray]


@pytest.mark.filterwarnings("ignore:elementwise comparison failed:DeprecationWarning")
def test_comparisons_of_a_subclass_go_first(shelf):
    class Other(np.ndarray):
        pass

    times, other = np.arange(3).astype("M8[s]"), np.ones(3).view(Other)
    shelf.x = times
    # Nothing compares these, so that since NumPy 1.25 the class of the result is that of who was asked.
    assert type(shelf.x == other) is type(times == other) and type(shelf.x != other) is type(times != other)


def test_methods_with_nothing_to_do_give_the_array_itself(shelf):
    """A plain view instead would write to the shelf without making it durable."""
    shelf.n = np.arange(5)
    shelf.x = np.arange(5.0)
    for name, method in (("n", "conj"), ("n", "conjugate"), ("x", "conj"), ("n", "round")):
        plain = np.array(shelf[name])
        if getattr(plain, method)() is plain:
            assert getattr(shelf[name], method)() is shelf[name]
    assert type(shelf.x.round()) is np.ndarray and not np.shares_memory(shelf.x.round(), shelf.x)
    shelf.z = np.arange(5) * 1j
    assert type(shelf.z.conj()) is np.ndarray and not np.shares_memory(shelf.z.conj(), shelf.z)


def test_sequence_protocol_in_c(shelf):
    """C code counts a negative index from the end once; a class of Python's would do it twice."""
    get, put = ctypes.pythonapi.PySequence_GetItem, ctypes.pythonapi.PySequence_SetItem
    get.argtypes, get.restype = [ctypes.py_object, ctypes.c_ssize_t], ctypes.py_object
    put.argtypes, put.restype = [ctypes.py_object, ctypes.c_ssize_t, ctypes.py_object], ctypes.c_int
    shelf.x = np.arange(10)
    x = shelf.x
    assert get(x, -1) == 9 and get(x, -10) == 0 and get(x, 3) == 3
    put(x, -1, 90)
    assert x.tolist()[-2:] == [8, 90]
    for index in (-11, 10):
        with pytest.raises(IndexError):
            get(x, index)
        with pytest.raises(IndexError):
            put(x, index, 0)
    concatenate = ctypes.pythonapi.PySequence_Concat
    concatenate.argtypes, concatenate.restype = [ctypes.py_object] * 2, ctypes.py_object
    with pytest.raises(TypeError):
        concatenate(x, [1] * 10)


def test_only_our_classes_are_sequences_as_ours():
    for other in (int, np.ndarray, list, 5, type("Other", (np.ndarray,), {})):
        with pytest.raises(TypeError):
            _pymm.use_sequence(other)


def test_iteration(shelf):
    shelf.x = np.arange(6).reshape(2, 3)
    rows = list(shelf.x)
    assert [type(row) for row in rows] == [pymm.ndarray.shelved_ndarray] * 2
    rows[1] += 10
    assert shelf.x.tolist() == [[0, 1, 2], [13, 14, 15]]
    assert [type(v) for v in shelf.x[0]] == [type(np.arange(1)[0])] * 3


def test_elements_of_flat_cannot_be_deleted(shelf):
    shelf.x = np.ones(3)
    with pytest.raises(TypeError):
        del shelf.x.flat[1]
