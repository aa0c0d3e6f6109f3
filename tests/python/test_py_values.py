"""Numbers, text and bytes on a shelf."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pymm

VALUES = [
    0, 1, -1, 127, 128, -128, -129, 255, 256, 1 << 63, -(1 << 63), 10**400, -(10**400),
    0.0, -0.0, 1.5, math.inf, -math.inf, 5e-324, "", "text", "héllo €", "\0", "lone \ud800", "a" * 100_000,
    b"", b"bytes\0", b"b" * 100_000, 1j, complex(-0.0, math.inf), True, False, None,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda v: repr(v)[:20])
def test_round_trip(shelf, reopen, value):
    shelf.v = value
    assert shelf.v == value
    s = reopen(shelf)
    assert s.v == value and isinstance(s.v, type(value)) and repr(s.v) == repr(value)
    assert hash(s.v) == hash(value)
    if value is None or isinstance(value, bool):
        assert s.v is value
    else:
        assert s.v.name == "v"
        s.v.persist()
    s.close()


@given(st.one_of(st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers()))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value(shelf, value):
    shelf["v"] = value
    stored = shelf["v"]
    assert repr(stored) == repr(value) and isinstance(stored, type(value))


def test_not_a_number_keeps_its_bits(shelf):
    odd = np.frombuffer(np.uint64(0x7FF8_0000_DEAD_BEEF).tobytes(), np.float64)[0]
    shelf.x = odd
    assert np.float64(shelf.x).tobytes() == odd.tobytes()


def test_operators_are_those_of_the_types(shelf, reopen):
    shelf.n = 5
    shelf.t = "ab"
    shelf.b = b"ab"
    shelf.f = 1.5
    shelf.c = 1 + 2j
    shelf.g = np.float32(1.5)
    assert type(shelf.n + 1) is int and shelf.n + 1 == 6 and 10 // shelf.n == 2
    assert type(shelf.t + "c") is str and shelf.t.upper() == "AB" and "a" in shelf.t
    assert type(shelf.b + b"c") is bytes and shelf.b[0] == 97
    assert type(shelf.f * 2) is float and type(shelf.c.conjugate()) is complex
    assert type(shelf.g + np.float32(1)) is np.float32
    assert {shelf.n: 1}[5] == 1 and [10, 11, 12, 13, 14, 15][shelf.n] == 15
    assert f"{shelf.n:03d} {shelf.f:.2f} {shelf.t:>4}" == "005 1.50   ab"
    shelf.n += 1
    shelf.n **= 2
    shelf.t += "c"
    shelf.b *= 2
    shelf.f /= 3
    shelf.g += np.float32(1)
    s = reopen(shelf)
    assert (s.n, s.t, s.b, s.f, s.g) == (36, "abc", b"abab", 0.5, np.float32(2.5))
    assert isinstance(s.n, int) and isinstance(s.g, np.float32)
    s.close()


def test_copies_and_pickles_are_plain(shelf):
    shelf.n, shelf.t, shelf.b, shelf.f, shelf.c = 5, "ab", b"ab", 1.5, 2j
    shelf.g, shelf.a = np.int16(3), np.arange(6).reshape(2, 3)
    for name in "ntbfcga":
        value = shelf[name]
        for made in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
            assert not isinstance(made, pymm.ndarray.shelved_ndarray)
            assert type(made).__module__ in ("builtins", "numpy")
            assert np.all(made == value)


def test_shelved_values_can_be_assigned_again(shelf):
    shelf.n, shelf.t, shelf.g = 5, "ab", np.float32(1.5)
    shelf.n2, shelf.t2, shelf.g2 = shelf.n, shelf.t, shelf.g
    assert (shelf.n2, shelf.t2, shelf.g2) == (5, "ab", 1.5)
    assert shelf.n2.name == "n2"


class Text(str):
    pass


@pytest.mark.parametrize(
    "value",
    [{1}, frozenset(), object(), Text("x"), range(3), print, int, ...],
    ids=lambda v: type(v).__name__,
)
def test_unsupported_types(shelf, value):
    shelf.x = 7
    used, count = shelf.used, len(shelf)
    with pytest.raises(TypeError, match="'x'"):
        shelf.x = value
    with pytest.raises(TypeError):
        shelf["y"] = value
    assert shelf.x == 7 and shelf.used == used and len(shelf) == count


def test_a_shelf_is_no_value(shelf):
    with pytest.raises(TypeError):
        shelf.x = shelf
    for function in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="shelf"):
            function(shelf)
