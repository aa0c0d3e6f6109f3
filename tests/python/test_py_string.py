"""pymm.string: text on a shelf, made as IBM's PyMM made it, and as plain text."""

import copy
import pickle

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import pymm

MAKE = [pymm.string, lambda text: text]
both = pytest.mark.parametrize("make", MAKE, ids=["constructor", "plain"])


@both
def test_it_is_a_str(shelf, twice, make):
    shelf.x = make("hello")
    for s in twice():
        assert s.x == "hello" and "hello" == s.x and s.x != "Hello" and not s.x == b"hello"
        assert isinstance(s.x, str) and isinstance(s.x, pymm.string.shelved_string)
        assert hash(s.x) == hash("hello") and {s.x: 1}["hello"] == 1
        assert repr(s.x) == "'hello'" and str(s.x) == f"{s.x}" == "hello" and type(str(s.x)) is str
        assert s.x.name == "x" and s.x.encoding == "utf-8"
        s.x.persist()


@both
def test_length_and_slices_count_characters(shelf, make):
    shelf.x = make("héllo €😀")
    assert len(shelf.x) == 8 and shelf.x[1] == "é" and shelf.x[-1] == "😀" and shelf.x[1:4] == "éll"
    assert shelf.x[::-1] == "😀€ olléh" and list(shelf.x)[6] == "€" and shelf.x[20:] == ""
    assert "llo" in shelf.x and "xyz" not in shelf.x
    with pytest.raises(IndexError):
        shelf.x[8]
    with pytest.raises(TypeError):
        shelf.x[0] = "J"
    with pytest.raises(TypeError):
        shelf.x["a"]


@both
def test_concatenation(shelf, reopen, make):
    shelf.x = make("hello")
    assert shelf.x + " world" == "hello world" and "oh, " + shelf.x == "oh, hello" and shelf.x * 2 == "hellohello"
    assert type(shelf.x + "!") is str
    # Not in place: the predecessor's `+` changed what was on the shelf.
    assert shelf.x == "hello"
    shelf.x += " world"
    shelf.x += "!"
    assert shelf.x == "hello world!" and shelf.x.name == "x"
    s = reopen(shelf)
    assert s.x == "hello world!"
    s.close()


@both
def test_comparisons(shelf, make):
    shelf.x = make("b")
    assert "a" < shelf.x < "c" and shelf.x <= "b" and shelf.x >= "b" and not shelf.x > "b"
    assert sorted(["c", shelf.x, "a"]) == ["a", "b", "c"]


METHODS = [
    ("capitalize",), ("casefold",), ("center", 20, "*"), ("count", "l"), ("count", "l", 0, 3), ("encode",),
    ("encode", "utf-16"), ("endswith", "d"), ("expandtabs",), ("find", "w"), ("index", "w"), ("isalnum",),
    ("isascii",), ("isidentifier",), ("islower",), ("isprintable",), ("isspace",), ("istitle",), ("join", ["a", "b"]),
    ("ljust", 20), ("lower",), ("lstrip", "h"), ("partition", " "), ("removeprefix", "he"), ("replace", "l", "L"),
    ("rfind", "o"), ("rjust", 20), ("rpartition", " "), ("rsplit",), ("rstrip", "d"), ("split",), ("splitlines",),
    ("startswith", "hello"), ("strip", "hd"), ("swapcase",), ("title",), ("upper",), ("zfill", 20),
]  # fmt: skip


@pytest.mark.parametrize("call", METHODS, ids=lambda call: "-".join(map(str, call)))
def test_methods_are_those_of_str(shelf, call):
    text = "hello wörld"
    shelf.x = pymm.string(text)
    result = getattr(shelf.x, call[0])(*call[1:])
    expected = getattr(text, call[0])(*call[1:])
    assert result == expected and type(result) is type(expected)
    assert shelf.x == text


@pytest.mark.parametrize(
    "text, encoding",
    [("hello", "ascii"), ("héllo", "utf-8"), ("héllo €", "utf-16"), ("héllo", "latin-1"), ("привет", "koi8-r")],
)
def test_encodings_keep_the_text(shelf, reopen, text, encoding):
    shelf.x = pymm.string(text, encoding)
    shelf.y = pymm.string(text, encoding=encoding)
    shelf.z = pymm.string(text.encode(encoding), encoding=encoding)
    s = reopen(shelf)
    for value in (s.x, s.y, s.z):
        assert value == text and len(value) == len(text) and value.encoding == "utf-8"
        assert value.encode(encoding) == text.encode(encoding)
    # What was put there as plain text is no different.
    s.w = text
    assert s.w == s.x
    s.close()


def test_bytes_are_decoded(shelf):
    shelf.msg = pymm.string(b"\xff\xfe=\xd8\t\xde", encoding="utf-16")
    assert shelf.msg == "\U0001f609"
    shelf.msg = pymm.string(bytearray(b"h\xc3\xa9"))
    assert shelf.msg == "hé"


def test_an_encoding_is_checked_at_once(shelf):
    shelf.x = "old"
    for wrong, error in (
        (lambda: pymm.string("héllo", "ascii"), UnicodeEncodeError),
        (lambda: pymm.string("€", "latin-1"), UnicodeEncodeError),
        (lambda: pymm.string(b"\xff", "utf-8"), UnicodeDecodeError),
        (lambda: pymm.string("x", "no-such-encoding"), LookupError),
        (lambda: pymm.string(5), TypeError),
        (lambda: pymm.string(None), TypeError),
        (lambda: pymm.string(), TypeError),
    ):
        with pytest.raises(error):
            shelf.x = wrong()
    assert shelf.x == "old"


def test_a_shelved_string_is_a_source(shelf):
    shelf.x = "hello"
    shelf.y = pymm.string(shelf.x)
    shelf.z = pymm.string(shelf.x.upper(), "ascii")
    assert shelf.y == "hello" and shelf.y.name == "y" and shelf.z == "HELLO"


def test_a_constructor_shows_itself_and_may_be_used_again(shelf):
    made = pymm.string("hello")
    assert repr(made) == "pymm.string('hello')"
    shelf.x = made
    with shelf.batch() as batch:
        batch["y"] = made
    assert shelf.x == shelf.y == "hello"


@both
def test_copies_and_pickles_are_plain(shelf, make):
    shelf.x = make("hello")
    for made in (copy.copy(shelf.x), copy.deepcopy(shelf.x), pickle.loads(pickle.dumps(shelf.x))):
        assert made == "hello" and type(made) is str


@given(st.text(), st.text(max_size=5))
@example("lone \ud800", "")
@example("", "")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_against_str(shelf, text, more):
    shelf.x = pymm.string(text)
    assert shelf.x == text and len(shelf.x) == len(text) and hash(shelf.x) == hash(text) and repr(shelf.x) == repr(text)
    assert shelf.x[1:-1] == text[1:-1] and list(shelf.x) == list(text) and (more in shelf.x) == (more in text)
    shelf.x += more
    assert shelf.x == text + more
    shelf.y = text + more
    assert type(shelf.y) is type(shelf.x) and shelf.y == shelf.x


@given(st.text(), st.sampled_from(["utf-8", "utf-16", "utf-32", "latin-1", "ascii", "cp1252"]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_encoding(shelf, text, encoding):
    try:
        encoded = text.encode(encoding)
    except UnicodeEncodeError:
        if encoding != "utf-8":
            with pytest.raises(UnicodeEncodeError):
                pymm.string(text, encoding)
        return
    shelf.x = pymm.string(text, encoding)
    assert shelf.x == text
    shelf.x = pymm.string(encoded, encoding)
    assert shelf.x == encoded.decode(encoding)
