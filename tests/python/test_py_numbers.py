"""pymm.integer_number and pymm.float_number, made as IBM's PyMM made them, and as plain numbers."""

import copy
import decimal
import fractions
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pymm

both_integers = pytest.mark.parametrize("make", [pymm.integer_number, int], ids=["constructor", "plain"])
both_floats = pytest.mark.parametrize("make", [pymm.float_number, float], ids=["constructor", "plain"])
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, divmod,
    operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip
BITS = [operator.and_, operator.or_, operator.xor]


def outcome(function, *arguments):
    """What it gives, with its type and its bits, or what it raises."""
    try:
        result = function(*arguments)
    except (ArithmeticError, ValueError) as error:
        return type(error)
    return type(result), repr(result)


# --- integers -----------------------------------------------------------------------------------------


@both_integers
@pytest.mark.parametrize("n", [0, 1, -1, 255, -256, 1 << 63, -(1 << 64), 10**400], ids=lambda n: str(n)[:10])
def test_it_is_an_int(shelf, twice, make, n):
    shelf.x = make(n)
    for s in twice():
        assert s.x == n and isinstance(s.x, int) and isinstance(s.x, pymm.integer_number.shelved_integer_number)
        assert hash(s.x) == hash(n) and repr(s.x) == repr(n) and str(s.x) == f"{s.x}" == str(n)
        assert bool(s.x) == bool(n) and type(int(s.x)) is int and s.x.bit_length() == n.bit_length()
        assert s.x.name == "x"
        s.x.persist()


@both_integers
def test_integers_in_place(shelf, reopen, make):
    shelf.x = make(7)
    plain = 7
    for change, by in (
        (operator.iadd, 5), (operator.isub, 2), (operator.imul, 10), (operator.ipow, 3), (operator.imod, 1000),
        (operator.ilshift, 70), (operator.irshift, 3), (operator.iand, -1 << 20), (operator.ior, 5),
        (operator.ixor, 3), (operator.ifloordiv, 7),
    ):  # fmt: skip
        shelf.x = change(shelf.x, by)
        plain = change(plain, by)
        assert shelf.x == plain and isinstance(shelf.x, pymm.integer_number.shelved_integer_number)
    s = reopen(shelf)
    assert s.x == plain
    s.x += 1
    s.x -= 2
    assert s.x == plain - 1
    # As Python's: the predecessor made an integer of it again.
    s.x = 7
    s.x /= 2
    assert s.x == 3.5 and isinstance(s.x, pymm.float_number.shelved_float_number)
    s.close()


def test_an_integer_is_an_index(shelf):
    shelf.x = pymm.integer_number(2)
    assert [10, 11, 12][shelf.x] == 12 and "abc"[shelf.x :] == "c" and list(range(shelf.x)) == [0, 1]
    assert np.zeros(shelf.x).shape == (2,) and np.arange(5)[shelf.x] == 2


@pytest.mark.parametrize(
    "source, n",
    [(5, 5), (True, 1), (2.9, 2), (-2.9, -2), ("42", 42), (np.int64(7), 7), (np.float32(7.5), 7), ("1" * 100, int("1" * 100))],
)
def test_integers_are_made_of(shelf, source, n):
    shelf.x = pymm.integer_number(source)
    assert shelf.x == n and type(shelf.x) is pymm.integer_number.shelved_integer_number
    shelf.y = pymm.integer_number(shelf.x)
    assert shelf.y == n and shelf.y.name == "y"


def test_no_integers(shelf):
    for wrong, error in (
        ("text", ValueError), (math.nan, ValueError), (math.inf, OverflowError), (None, TypeError),
        ([1], TypeError), (1j, TypeError),
    ):  # fmt: skip
        with pytest.raises(error):
            shelf.x = pymm.integer_number(wrong)
    assert "x" not in shelf
    assert repr(pymm.integer_number(5)) == "pymm.integer_number(5)"


@given(st.integers(), st.one_of(st.integers(), st.floats()))
@relaxed
def test_against_int(shelf, n, other):
    shelf.x = pymm.integer_number(n)
    for function in BINARY:
        assert outcome(function, shelf.x, other) == outcome(function, n, other)
        assert outcome(function, other, shelf.x) == outcome(function, other, n)
    if isinstance(other, int):
        for function in BITS:
            assert outcome(function, shelf.x, other) == outcome(function, n, other)
    for function in (operator.neg, operator.pos, operator.abs, operator.invert, float, complex, round, math.trunc):
        assert outcome(function, shelf.x) == outcome(function, n)
    shelf.y = n
    assert type(shelf.y) is type(shelf.x) and shelf.y == shelf.x == n


# --- floats -------------------------------------------------------------------------------------------


@both_floats
@pytest.mark.parametrize("f", [0.0, -0.0, 1.5, -1e308, 5e-324, math.inf, -math.inf])
def test_it_is_a_float(shelf, twice, make, f):
    shelf.x = make(f)
    for s in twice():
        assert s.x == f and isinstance(s.x, float) and isinstance(s.x, pymm.float_number.shelved_float_number)
        assert hash(s.x) == hash(f) and repr(s.x) == repr(f) and f"{s.x:.3e}" == f"{f:.3e}"
        assert s.x.hex() == f.hex() and type(float(s.x)) is float and bool(s.x) == bool(f)
        assert s.x.name == "x"
        s.x.persist()


@both_floats
def test_not_a_number(shelf, reopen, make):
    shelf.x = make(math.nan)
    s = reopen(shelf)
    assert math.isnan(s.x) and s.x != s.x
    s.close()


@both_floats
def test_floats_in_place(shelf, reopen, make):
    shelf.x = make(1.5)
    shelf.x += 1
    shelf.x *= 3
    shelf.x -= 0.5
    shelf.x /= 7
    shelf.x **= 2
    shelf.x //= 0.1
    shelf.x %= 5
    plain = (((1.5 + 1) * 3 - 0.5) / 7) ** 2 // 0.1 % 5
    s = reopen(shelf)
    assert s.x == plain and isinstance(s.x, pymm.float_number.shelved_float_number)
    s.close()


@pytest.mark.parametrize(
    "source, f",
    [
        (1.5, 1.5), (3, 3.0), (True, 1.0), ("1e3", 1000.0), ("-inf", -math.inf), (np.float32(0.5), 0.5),
        (np.float64(2.5), 2.5), (decimal.Decimal("1.25"), 1.25), (fractions.Fraction(1, 4), 0.25),
    ],
)  # fmt: skip
def test_floats_are_made_of(shelf, source, f):
    shelf.x = pymm.float_number(source)
    assert shelf.x == f and type(shelf.x) is pymm.float_number.shelved_float_number
    shelf.y = pymm.float_number(shelf.x)
    assert shelf.y == f and shelf.y.name == "y"


def test_no_floats(shelf):
    for wrong, error in (("text", ValueError), (10**400, OverflowError), (None, TypeError), (1j, TypeError)):
        with pytest.raises(error):
            shelf.x = pymm.float_number(wrong)
    assert "x" not in shelf
    assert repr(pymm.float_number(1.5)) == "pymm.float_number(1.5)"


@given(st.floats(), st.one_of(st.floats(), st.integers()))
@relaxed
def test_against_float(shelf, f, other):
    shelf.x = pymm.float_number(f)
    for function in BINARY:
        assert outcome(function, shelf.x, other) == outcome(function, f, other)
        assert outcome(function, other, shelf.x) == outcome(function, other, f)
    for function in (operator.neg, operator.pos, operator.abs, int, round, math.trunc, math.floor, float.as_integer_ratio):
        assert outcome(function, shelf.x) == outcome(function, f)
    shelf.y = f
    assert type(shelf.y) is type(shelf.x) and repr(shelf.y) == repr(shelf.x) == repr(f)


# --- both ---------------------------------------------------------------------------------------------


def test_other_names_for_a_number_do_not_change_the_shelf(shelf):
    shelf.x = pymm.integer_number(5)
    shelf.y = pymm.float_number(0.5)
    n, f = shelf.x, shelf.y
    n += 1
    f += 1
    assert (n, f) == (6, 1.5) and (shelf.x, shelf.y) == (5, 0.5) and type(n) is int and type(f) is float


def test_in_a_batch(shelf):
    with shelf.batch() as batch:
        batch["n"] = pymm.integer_number(5)
        batch["f"] = pymm.float_number(0.5)
    assert (shelf.n, shelf.f) == (5, 0.5)


def test_copies_and_pickles_are_plain(shelf):
    shelf.x, shelf.y = pymm.integer_number(5), pymm.float_number(0.5)
    for value, cls in ((shelf.x, int), (shelf.y, float)):
        for made in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
            assert made == value and type(made) is cls
