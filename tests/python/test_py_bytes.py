"""pymm.bytes: byte strings on a shelf, made as IBM's PyMM made them, and as plain bytes."""

import copy
import pickle

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pymm

both = pytest.mark.parametrize("make", [pymm.bytes, lambda value: value], ids=["constructor", "plain"])


@both
def test_it_is_a_bytes(shelf, twice, make):
    shelf.x = make(b"hello\0\xff")
    for s in twice():
        assert s.x == b"hello\0\xff" and s.x != b"hello" and not s.x == "hello"
        assert isinstance(s.x, bytes) and isinstance(s.x, pymm.bytes.shelved_bytes)
        assert hash(s.x) == hash(b"hello\0\xff") and {s.x: 1}[b"hello\0\xff"] == 1
        assert repr(s.x) == repr(b"hello\0\xff") and type(bytes(s.x)) is bytes
        assert s.x.name == "x"
        s.x.persist()


@both
def test_length_items_and_slices(shelf, make):
    shelf.x = make(b"hello")
    assert len(shelf.x) == 5 and shelf.x[0] == 104 and shelf.x[-1] == 111 and shelf.x[1:3] == b"el"
    assert type(shelf.x[0]) is int and type(shelf.x[1:3]) is bytes and list(shelf.x) == list(b"hello")
    assert b"ell" in shelf.x and 104 in shelf.x and b"z" not in shelf.x
    assert memoryview(shelf.x).tolist() == list(b"hello") and memoryview(shelf.x).readonly
    with pytest.raises(IndexError):
        shelf.x[5]
    with pytest.raises(TypeError):
        shelf.x[0] = 1


@both
def test_concatenation(shelf, reopen, make):
    shelf.x = make(b"hello")
    assert shelf.x + b"!" == b"hello!" and b"oh " + shelf.x == b"oh hello" and type(shelf.x + b"") is bytes
    assert shelf.x == b"hello"
    shelf.x += b" world"
    shelf.x *= 2
    assert shelf.x == b"hello worldhello world"
    s = reopen(shelf)
    assert s.x == b"hello worldhello world"
    with pytest.raises(TypeError):
        s.x += "text"
    assert s.x == b"hello worldhello world"
    s.close()


@both
def test_comparisons(shelf, make):
    shelf.x = make(b"b")
    assert b"a" < shelf.x < b"c" and shelf.x <= b"b" and shelf.x >= b"b" and not shelf.x > b"b"


METHODS = [
    ("capitalize",), ("center", 20), ("count", b"l"), ("decode",), ("decode", "latin-1"), ("endswith", b"d"),
    ("find", b"w"), ("hex",), ("index", b"o"), ("isalpha",), ("join", [b"a", b"b"]), ("lstrip", b"h"),
    ("partition", b" "), ("replace", b"l", b"L"), ("rfind", b"o"), ("rsplit",), ("rstrip", b"d"), ("split",),
    ("splitlines",), ("startswith", b"he"), ("strip", b"hd"), ("swapcase",), ("title",), ("upper",), ("zfill", 20),
]  # fmt: skip


@pytest.mark.parametrize("call", METHODS, ids=lambda call: call[0])
def test_methods_are_those_of_bytes(shelf, call):
    plain = b"hello world"
    shelf.x = pymm.bytes(plain)
    result, expected = (getattr(one, call[0])(*call[1:]) for one in (shelf.x, plain))
    assert result == expected and type(result) is type(expected)


@pytest.mark.parametrize(
    "arguments",
    [
        (), (b"abc",), (bytearray(b"abc"),), (memoryview(b"abcdef")[::2],), ([1, 2, 255],), (range(5),),
        ("héllo", "utf-8"), ("héllo", "utf-16"), ("hello", "ascii"), ("héllo", "ascii", "replace"),
    ],
    ids=str,
)  # fmt: skip
def test_made_from_what_bytes_are_made_from(shelf, reopen, arguments):
    shelf.x = pymm.bytes(*arguments)
    s = reopen(shelf)
    assert s.x == bytes(*arguments) and isinstance(s.x, pymm.bytes.shelved_bytes)
    s.close()


def test_a_shelved_bytes_is_a_source(shelf):
    shelf.x = b"abc"
    shelf.y = pymm.bytes(shelf.x)
    assert shelf.y == b"abc" and shelf.y.name == "y"


def test_refused(shelf):
    for wrong, error in (
        (lambda: pymm.bytes("text"), TypeError),
        (lambda: pymm.bytes(b"abc", "utf-8"), TypeError),
        (lambda: pymm.bytes([256]), ValueError),
        (lambda: pymm.bytes("é", "ascii"), UnicodeEncodeError),
        (lambda: pymm.bytes("x", "no-such-encoding"), LookupError),
        (lambda: pymm.bytes(3), TypeError),
        (lambda: pymm.bytes(None), TypeError),
    ):
        with pytest.raises(error):
            shelf.x = wrong()
    assert "x" not in shelf


def test_python_s_own_name_stays():
    names = {}
    exec("from pymm import *", names)
    assert "bytes" not in names and names["string"] is pymm.string
    assert repr(pymm.bytes(b"abc")) == "pymm.bytes(b'abc')"


@both
def test_copies_and_pickles_are_plain(shelf, make):
    shelf.x = make(b"abc")
    for made in (copy.copy(shelf.x), copy.deepcopy(shelf.x), pickle.loads(pickle.dumps(shelf.x))):
        assert made == b"abc" and type(made) is bytes


@given(st.binary(), st.binary(max_size=5))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_against_bytes(shelf, value, more):
    shelf.x = pymm.bytes(value)
    assert shelf.x == value and len(shelf.x) == len(value) and hash(shelf.x) == hash(value)
    assert shelf.x[1:-1] == value[1:-1] and list(shelf.x) == list(value) and (more in shelf.x) == (more in value)
    shelf.x += more
    assert shelf.x == value + more and shelf.x.hex() == (value + more).hex()
    shelf.y = value + more
    assert type(shelf.y) is type(shelf.x) and shelf.y == shelf.x
