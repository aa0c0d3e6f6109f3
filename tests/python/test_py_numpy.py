"""Where shelved arrays behave as NumPy's own, among what its test suite (numpy_suite) found."""

import numpy as np
import pytest


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_operators_of_a_matrix_go_first(shelf):
    """`*` with a matrix on the right is its product, though numpy.matrix is no subclass of ours."""
    plain = np.arange(4.0).reshape(2, 2)
    matrix = np.matrix([[1, 2], [3, 4]])
    shelf.x = plain
    assert (shelf.x * matrix).tolist() == (plain * matrix).tolist() == (plain @ matrix).tolist()
    assert (matrix * shelf.x).tolist() == (matrix * plain).tolist()
    assert type(shelf.x + matrix) is type(plain == matrix) is type(shelf.x == matrix) is np.matrix


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "lshift", "rshift",
                                  "and", "or", "xor", "matmul"])  # fmt: skip
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


def test_comparisons_of_a_subclass_go_first(shelf):
    class Other(np.ndarray):
        pass

    times, other = np.arange(3).astype("M8[s]"), np.ones(3).view(Other)
    shelf.x = times
    # Nothing compares these, so that the class of the result is that of who was asked.
    assert type(times == other) is type(shelf.x == other) is type(shelf.x != other) is Other
