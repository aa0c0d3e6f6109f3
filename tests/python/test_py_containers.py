"""Lists, tuples and dicts on a shelf, against plain ones."""

import collections
import copy
import decimal
import fractions
import json
import math
import operator
import os
import pickle
import tracemalloc
import types

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pymm
from pymm import _containers

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

numbers = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-5, 5), st.floats(), st.complex_numbers(),
    st.floats(width=32).map(np.float32), st.integers(-128, 127).map(np.int8), st.booleans().map(np.bool_),
)  # fmt: skip
texts = st.one_of(st.text(max_size=20), st.binary(max_size=20), st.text(max_size=3).map(lambda text: np.str_(text.rstrip("\0"))))
scalars = st.one_of(numbers, texts)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)


def containers(inner):
    return st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(keys, inner, max_size=5),
        st.dictionaries(keys, inner, max_size=5).map(collections.OrderedDict),
    )


nests = containers(st.recursive(scalars, containers, max_leaves=20))


def same(a, b):
    """Equal, of the same types all the way down, in the same order; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a.items(), b.items()))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return repr(a) == repr(b)


def everything():
    return [
        1, -1, 2**63, -(10**400), 0.5, -0.0, math.inf, 1j, "", "short", "é" * 9, "x" * 5000, "é" * 5000, "lone \ud800",
        b"", b"12345678", b"123456789", b"b" * 5000, True, False, None,
        np.float32(1.5), np.int64(-3), np.bool_(True), np.str_("numpy"), np.datetime64("2025-01-01", "us"),
        np.zeros((), [("a", "i4"), ("b", "f8")])[()], np.zeros((), "S0")[()], np.longdouble(1) / 3,
        [], (), {}, collections.OrderedDict(b=1, a=2), [[[]]], {"a": {"b": ({"c": [1]},)}},
        {1: "int", 2.5: "float", "t": "str", b"b": "bytes", None: "none", (1, ("a", None)): "tuple", 1j: "complex"},
    ]  # fmt: skip


ARRAYS = [
    np.arange(10),
    np.arange(12.0).reshape(3, 4),
    np.asfortranarray(np.arange(12).reshape(3, 4)),
    np.arange(24).reshape(2, 3, 4)[:, ::2, ::-1],
    np.array(5),
    np.zeros((0, 3), np.int8),
    np.array([b"ab", b"c"]),
    np.array(["ä", "bc"]),
    np.array(["2020-01-01", "NaT"], "M8[D]"),
    np.arange(3).astype(">i2"),
    np.array([True, False]),
    np.array([1j, 2]),
    np.array([(1, 2.5), (3, 4.5)], np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    np.array([(1, 2.5), (3, 4.5)], [("a", "i1"), ("b", "f8")])[::-1],
    np.zeros(3, "V5"),
    np.zeros(4, "S0"),
    np.arange(4).astype(np.longdouble),
    np.arange(4).astype(np.float16),
]


def test_round_trip(shelf, twice):
    value = everything()
    shelf.x = value
    for s in twice():
        assert type(s.x) is _containers.shelved_list and len(s.x) == len(value)
        assert same(s.x.plain(), value)
        assert [type(e) for e in s.x[:29]] == [type(e) for e in value[:29]]
        assert s.x.name == "x" and s.x[-1].name == "x"
        s.x.persist()


@given(nests)
@SLOW
def test_any_nest_comes_back(shelf, value):
    shelf.x = value
    assert same(shelf.x.plain(), value)
    assert same(copy.deepcopy(shelf.x), value) and same(pickle.loads(pickle.dumps(shelf.x)), value)
    assert repr(shelf.x) == repr(value)
    assert len(shelf.x) == len(value) and bool(shelf.x) == bool(value)
    shelf["again"] = shelf.x
    assert same(shelf["again"].plain(), value)
    del shelf["again"]


@given(
    st.lists(st.one_of(st.integers(-(2**63) - 5, 2**63 + 5), st.integers(-300, 300)), min_size=60, max_size=80),
    st.lists(st.floats(), min_size=60, max_size=80),
    st.integers(0, 59),
    st.sampled_from([True, None, 2**80, "x", 1.5, 7]),
)
@SLOW
def test_many_numbers(shelf, integers, floats, at, other):
    """Those that are decoded together."""
    for value in (integers, floats):
        for plain in (value, [*value[:at], other, *value[at:]]):
            shelf.x = plain * 20
            assert same(shelf.x.plain(), plain * 20) and same(list(shelf.x), plain * 20)
            assert same(shelf.x[at:70], (plain * 20)[at:70])


def same_element(shelved, plain):
    return same(shelved.plain() if isinstance(shelved, _containers.ShelvedContainer) else shelved, plain)


@given(st.dictionaries(keys, scalars, max_size=30), st.lists(keys, max_size=10))
@SLOW
def test_look_ups_are_those_of_a_dict(shelf, value, others):
    shelf.x = value
    x = shelf.x
    # In the plain dict a NaN is found if it is the same object; on the shelf each is its own.
    plain = pickle.loads(pickle.dumps(value))
    for key in [*value, *others, 0, 0.0, -0.0, False, 0j, 1, "", b"", None, (), (0.0, 1), ((True,),)]:
        assert (key in x) == (pickle.loads(pickle.dumps(key)) in plain)
        assert repr(x.get(key, "absent")) == repr(plain.get(pickle.loads(pickle.dumps(key)), "absent"))
        if key in x:
            assert repr(x[key]) == repr(plain[key])
        else:
            with pytest.raises(KeyError):
                x[key]
    assert repr(list(x)) == repr(list(plain)) and repr(list(x.items())) == repr(list(plain.items()))


def test_keys_that_numpy_would_shorten(shelf):
    for key in (np.str_("a\0"), np.bytes_(b"\0"), (1, np.str_("\0"))):
        with pytest.raises(ValueError, match="NULs"):
            shelf.x = {key: 1}
    shelf.x = {"a\0": 1, b"\0": 2}
    assert shelf.x[np.str_("a\0")] == 1 and shelf.x[b"\0"] == 2 and "a" not in shelf.x


@given(st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=1), st.lists(st.integers(0, 1), max_size=2)), max_size=8),
       st.integers(-10, 10), st.integers(-10, 10), st.one_of(st.none(), st.integers(-3, 3).filter(bool)))  # fmt: skip
@SLOW
def test_sequences_are_those_of_lists_and_tuples(shelf, value, i, j, step):
    for kind in (list, tuple):
        plain = kind(value)
        shelf.x = plain
        x = shelf.x
        assert x == plain and plain == x and not x != plain and x != [*plain, 1] and x == shelf.x
        part = x[i:j:step]
        assert type(part) is kind and part == plain[i:j:step]
        if -len(plain) <= i < len(plain):
            assert x[i] == plain[i] and x[np.int64(i)] == plain[i]
        else:
            with pytest.raises(IndexError, match=f"{kind.__name__} index out of range"):
                x[i]
        assert list(x) == list(plain) and list(reversed(x)) == list(reversed(plain))
        for element in [*value, 7, 1.0, [0]]:
            assert (element in x) == (element in plain) and x.count(element) == plain.count(element)
            if element in plain:
                assert x.index(element) == plain.index(element)
        with pytest.raises(ValueError):
            x.index("absent")
        assert type(x + plain) is kind and x + plain == plain + x == plain + plain == x + x
        assert x * 2 == 2 * x == plain * 2


def test_order_and_hash(shelf):
    shelf.a, shelf.b, shelf.t = [1, [2, 3]], [1, [2, 4]], (1, "a", (2.0,))
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        expected = compare([1, [2, 3]], [1, [2, 4]])
        assert compare(shelf.a, shelf.b) == compare(shelf.a, [1, [2, 4]]) == compare([1, [2, 3]], shelf.b) == expected
    with pytest.raises(TypeError):
        shelf.a < (1,)
    assert hash(shelf.t) == hash((1, "a", (2.0,))) and {shelf.t: 5}[1, "a", (2.0,)] == 5
    assert shelf.a != (1, [2, 3]) and shelf.t != [1, "a", (2.0,)]
    for unhashable in (shelf.a, {"a": 1}):
        shelf.x = unhashable
        with pytest.raises(TypeError, match="unhashable"):
            hash(shelf.x)
    shelf.x = (1, [2])
    with pytest.raises(TypeError, match="unhashable"):
        hash(shelf.x)


def test_dict_views_and_operators(shelf):
    plain = {"a": 1, (1, 2): [3], None: {"b": 2}}
    shelf.x = plain
    x = shelf.x
    assert x == plain and plain == x and x != {"a": 1} and x != [1]
    assert list(x.keys()) == list(plain) and list(x.values()) == list(plain.values())
    assert list(x.items()) == list(plain.items()) and list(reversed(x)) == list(reversed(plain))
    assert list(reversed(x.items())) == list(reversed(plain.items()))
    assert list(reversed(x.values())) == list(reversed(plain.values()))
    assert list(reversed(x.keys())) == list(reversed(plain))
    assert x.keys() & {"a", "z"} == {"a"} and x.keys() == plain.keys() and ("a", 1) in x.items()
    assert [3] in x.values() and 4 not in x.values() and len(x.values()) == 3
    assert repr(x.keys()) == repr(plain.keys()) and repr(x.items()) == repr(plain.items())
    assert repr(x.values()) == repr(plain.values())
    assert x | {"z": 1} == plain | {"z": 1} and {"a": 2, "z": 1} | x == {"a": 2, "z": 1} | plain
    assert type(x | x) is dict and type(x.copy()) is dict and dict(x) == plain and {**x} == plain
    for wrong in ([], {}, {1}):
        with pytest.raises(TypeError, match="unhashable"):
            x[wrong]
        with pytest.raises(TypeError, match="unhashable"):
            wrong in x
    shelf.o = collections.OrderedDict(a=1, b=2)
    assert type(shelf.o.copy()) is collections.OrderedDict and shelf.o == {"b": 2, "a": 1}
    assert shelf.o == collections.OrderedDict(a=1, b=2) != collections.OrderedDict(b=2, a=1)
    assert shelf.o != collections.OrderedDict(b=2, a=1)


def test_equal_numbers_are_one_key(shelf):
    shelf.x = {1: "one", 0.5: "half", 2**70: "large", np.float32(0.1): "tenth", "1": "text"}
    for one in (1, 1.0, True, 1 + 0j, np.int8(1), np.float16(1), np.bool_(True), np.complex64(1), fractions.Fraction(1),
                decimal.Decimal(1), np.longdouble(1)):  # fmt: skip
        assert shelf.x[one] == "one", one
    assert shelf.x[fractions.Fraction(1, 2)] == shelf.x[decimal.Decimal("0.5")] == shelf.x[0.5 + 0j] == "half"
    assert shelf.x[float(2**70)] == "large" and shelf.x[float(np.float32(0.1))] == "tenth"
    for absent in (0.1, fractions.Fraction(1, 3), decimal.Decimal("NaN"), math.nan, math.inf, b"1", object(), print,
                   frozenset(), range(1), 1j, np.datetime64(1, "s"), decimal.Decimal("1e400")):  # fmt: skip
        assert absent not in shelf.x and shelf.x.get(absent, 7) == 7
    zero = {0.0: "zero", math.nan: "nan", math.inf: "inf", -1.5j: "complex", np.datetime64("2025-01-01", "D"): "day"}
    shelf.x = zero
    assert shelf.x[-0.0] == shelf.x[0] == shelf.x[False] == "zero"
    assert shelf.x[math.inf] == shelf.x[complex(math.inf, 0)] == "inf"
    assert shelf.x[complex(-0.0, -1.5)] == shelf.x[complex(0.0, -1.5)] == "complex"
    assert shelf.x[np.datetime64("2025-01-01", "D")] == "day"
    assert math.nan not in shelf.x and [k for k in shelf.x if k != k]
    shelf.key = (1, "a")
    shelf.x = {shelf.key: "shelved"}
    assert shelf.x[1, "a"] == shelf.x[shelf.key] == shelf.x[1.0, "a"] == "shelved" and list(shelf.x) == [(1, "a")]


def test_arrays_are_views_that_cannot_be_written(shelf, twice):
    shelf.x = {"all": ARRAYS, "more": (np.ones(3),)}
    for s in twice():
        for shelved, plain in zip(s.x["all"], ARRAYS):
            assert isinstance(shelved, pymm.ndarray.shelved_ndarray) and shelved.name == "x"
            assert shelved.dtype == plain.dtype and shelved.shape == plain.shape
            assert shelved.tobytes() == plain.tobytes()
            if plain.size and plain.itemsize:
                assert not shelved.flags.writeable and shelved.addr % 64 == 0
        assert s.x["all"][2].flags.f_contiguous and not s.x["all"][2].flags.c_contiguous
        a = s.x["more"][0]
        assert np.shares_memory(a, s.x["more"][0])  # no copy
        with pytest.raises(ValueError, match="read-only"):
            a[0] = 5
        with pytest.raises(ValueError, match="read-only"):
            a += 1
        with pytest.raises(ValueError):
            a.flags.writeable = True
        plain = s.x.plain()
        assert type(plain["more"][0]) is np.ndarray and plain["more"][0].flags.owndata
        plain["more"][0][0] = 5
        assert a[0] == 1
        assert type(a + 1) is np.ndarray
        with pytest.raises(ValueError, match="ambiguous"):
            s.x["more"] == (np.ones(3),)


def test_small_arrays_are_aligned_too(shelf):
    for n in range(1, 40):
        shelf.x = [np.arange(n, dtype=np.int8)]
        assert shelf.x[0].addr % 64 == 0 and shelf.x[0].sum() == n * (n - 1) // 2


def test_views_outlive_variable_and_shelf(shelf, namespace):
    shelf.x = {"a": np.arange(1000), "b": [1, 2]}
    x, a = shelf.x, shelf.x["a"]
    shelf.x = {"a": np.zeros(1000, int)}
    for i in range(20):
        shelf["other"] = np.full(1000, i)
    assert a.sum() == 499500 and x["b"] == [1, 2] and x["a"][999] == 999
    shelf.close()
    assert a.sum() == 499500 and x["b"] == [1, 2] and x["a"][999] == 999


def test_they_are_read_only(shelf):
    shelf.x, shelf["a/b"] = {"l": [1], "t": (1,)}, [1]
    with pytest.raises(TypeError, match=r"read-only.*x = s\.x\.plain\(\)"):
        shelf.x["l"] = 2
    with pytest.raises(TypeError, match=r"s\['a/b'\]\.plain\(\)"):
        shelf["a/b"][0] = 2
    for change in (lambda: shelf.x.update(a=1), lambda: shelf.x["l"].append(2), lambda: shelf.x["l"].sort(),
                   lambda: shelf.x.pop("l"), lambda: operator.delitem(shelf.x, "l"), lambda: shelf.x.clear(),
                   lambda: operator.delitem(shelf.x["l"], 0), lambda: operator.setitem(shelf.x["t"], 0, 1)):  # fmt: skip
        with pytest.raises(TypeError, match="read-only"):
            change()
    shelf.l, shelf.d = [1], {"a": 1}
    shelf.l += [2]
    shelf.d |= {"b": 2}
    assert shelf.l == [1, 2] and shelf.d == {"a": 1, "b": 2}
    assert type(shelf.l) is _containers.shelved_list
    x = shelf.x.plain()
    x["l"].append(2)
    shelf.x = x
    assert shelf.x == {"l": [1, 2], "t": (1,)}


def test_shelved_things_go_into_containers(shelf, reopen):
    shelf.n, shelf.t, shelf.a, shelf.g, shelf.l = 5, "text", np.arange(3), np.float32(2.5), [1, (2,)]
    shelf.x = [shelf.n, shelf.t, shelf.a, shelf.g, shelf.l, shelf.l[1], {shelf.t: shelf.a, shelf.n: pymm.string("s")},
               pymm.bytes(b"b"), pymm.float_number(1), pymm.integer_number(2)]  # fmt: skip
    shelf.x = [shelf.x]
    s = reopen(shelf)
    x = s.x[0]
    assert x[:2] == [5, "text"] and x[2].tolist() == [0, 1, 2] and x[3:6] == [np.float32(2.5), [1, (2,)], (2,)]
    assert x[6]["text"][1] == 1 and x[6][5] == "s" and x[7:] == [b"b", 1.0, 2]
    assert type(x[0]) is int and type(x[3]) is np.float32
    s.close()


def test_it_is_the_value_of_a_variable(shelf):
    for value in ([1, [2]], (1, [2]), {"a": [2]}):
        shelf.x = value
        part = shelf.x[1] if type(value) is not dict else shelf.x["a"]
        with pytest.raises(pymm.InvalidArgument, match="part of variable 'x'"):
            shelf.erase(part)
        old = shelf.x
        shelf.x = value
        with pytest.raises(pymm.InvalidArgument, match="former"):
            shelf.erase(old)
        shelf.erase(shelf.x)
        assert "x" not in shelf
    shelf.x = [np.arange(3)]
    with pytest.raises(pymm.InvalidArgument, match="view"):
        shelf.erase(shelf.x[0])
    shelf.x = shelf.x[0]
    assert shelf.x.flags.writeable and shelf.x[2] == 2


def test_batches_copies_renames_seals(shelf, reopen):
    with shelf.batch() as b:
        b["x"], b["y"] = [1, np.arange(3)], {"a": 1}
    shelf.copy("x", "z")
    shelf.rename("y", "w")
    shelf.seal("z")
    s = reopen(shelf, "r")
    assert s.z[1][2] == 2 and s.w == {"a": 1} and "tree" in str(s.inspect()) and "tree" in repr(s)
    s.close()


def test_assigned_to_itself(shelf):
    shelf.x = {"a": np.arange(3)}
    sequence = shelf._state.handle.stat()["sequence"]
    shelf.x = shelf.x
    assert shelf._state.handle.stat()["sequence"] == sequence
    old = shelf.x
    shelf.x = {"a": 1}
    shelf.x = old
    assert shelf.x["a"][2] == 2 and shelf._state.handle.stat()["sequence"] == sequence + 2
    shelf.rename("x", "y")
    shelf.x = {"z": 1}
    shelf.x = old
    assert shelf.x["a"][2] == 2
    assert type(copy.copy(shelf.x)) is dict and not copy.copy(shelf.x)["a"].flags.writeable
    assert type(copy.deepcopy(shelf.x)["a"]) is np.ndarray and copy.deepcopy(shelf.x)["a"].flags.writeable


def test_to_json(shelf):
    shelf.x = {"a": [1, 2.5, None, True], "b": {"c": ["d"]}}
    text = json.dumps(shelf.x, default=operator.methodcaller("plain"))
    assert json.loads(text) == {"a": [1, 2.5, None, True], "b": {"c": ["d"]}}


Point = collections.namedtuple("Point", "x y")


class Text(str):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, {"a": [0, 1, {3}]}], r"^x\[1\]\['a'\]\[2\]: set is not supported: convert it: list\(value\)"),
        (Point(1, 2), "'x'.*Point is not supported: it is a subclass of tuple; convert it: tuple"),
        ([Point(1, 2)], r"x\[0\]: .*Point is not supported: it is a subclass of tuple"),
        (collections.defaultdict(int), "subclass of dict; convert it: dict"),
        ([collections.Counter()], r"x\[0\].*subclass of dict"),
        ((Text("a"),), r"x\[0\].*subclass of str"),
        ([bytearray()], r"x\[0\]: bytearray.*bytes\(value\)"),
        ([print], r"x\[0\]: builtin_function"),
        ({(1, 2): {"a" * 100: object()}}, r"x\[\(1, 2\)\]\['a+\.\.\.\]: object is not supported"),
        ({frozenset(): 1}, r"key frozenset\(\): frozenset is not supported as a key"),
        ({(1, (frozenset(),)): 1}, r"key \(1, \(frozenset\(\),\)\): frozenset is not supported as a key"),
        ({"a": {Text("k"): 1}}, r"x\['a'\]: key 'k': .*Text is not supported as a key"),
        ([np.array([object()])], r"x\[0\]: dtype object holds Python objects"),
        ([np.ma.masked_array([1])], r"x\[0\]: numpy.ma.*MaskedArray is not supported"),
        ([pymm.ndarray(3)], r"x\[0\]: .*ndarray is not supported: in a container it would be zeros"),
        ([types.MappingProxyType({})], r"x\[0\]: mappingproxy"),
        ([range(3)], r"x\[0\]: range.*list\(value\)"),
    ],
    ids=lambda v: "" if isinstance(v, str) else type(v).__name__,
)
def test_refused(shelf, value, message):
    shelf.x = [7]
    used, count = shelf.used, len(shelf)
    with pytest.raises(TypeError, match=message):
        shelf.x = value
    assert shelf.x == [7] and shelf.used == used and len(shelf) == count


def test_cycles_and_depth(shelf):
    loop = [1]
    loop.append({"a": (loop,)})
    with pytest.raises(ValueError, match=r"^x\[1\]\['a'\]\[0\]: a list that contains itself"):
        shelf.x = loop
    twice = [1]
    shelf.x = [twice, twice]  # is no cycle
    assert shelf.x == [[1], [1]]
    deep = []
    for _ in range(99):
        deep = [deep]
    shelf.x = deep
    assert shelf.x == deep
    with pytest.raises(ValueError, match="more than 100 containers"):
        shelf.x = [deep]
    key = ()
    for _ in range(98):
        key = (key,)
    shelf.x = {key: 1}
    assert shelf.x[key] == 1
    with pytest.raises(ValueError, match="more than 100 containers"):
        shelf.x = {(key,): 1}
    endless = []
    for _ in range(10**5):
        endless = [endless]
    with pytest.raises(ValueError, match="more than 100"):
        shelf.y = endless
    while endless:  # or Python recurses when it is freed
        endless = endless[0]
    assert "y" not in shelf


def test_a_shelf_that_is_too_small(shelf):
    shelf.x = [1]
    with pytest.raises(pymm.NoSpaceError):
        shelf.x = [np.zeros(20 << 20, np.uint8)]
    assert shelf.x == [1]


def test_large_things_are_copied_once(namespace):
    """No second copy of arrays and texts in DRAM, however many there are."""
    parts = np.arange(1 << 21)
    value = {
        "contiguous": [parts.copy() for _ in range(4)], "strided": parts[::2], "transposed": parts.reshape(2, -1).T[::-1],
        "bytes": bytes(8 << 20), "text": "x" * (8 << 20), "small": [parts[i : i + 1000] for i in range(0, 1 << 20, 1000)],
        "records": np.zeros(1 << 20, [("a", "i1"), ("b", "f8")])[::2],
    }  # fmt: skip
    with pymm.shelf("large", pmem_path=namespace, size_mb=256) as s:
        tracemalloc.start()
        try:
            s.x = value
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # One text is encoded at a time; what is small is put together in pieces.
        assert peak < (8 << 20) + (4 << 20), peak
        x = s.x
        for name, plain in value.items():
            if isinstance(plain, list):
                assert len(x[name]) == len(plain) and all(map(np.array_equal, x[name], plain))
            else:
                assert np.array_equal(x[name], plain)


def bytes_of(s, name):
    block = s._state.handle.get(name)
    return bytearray(block.read(0, block.size))


def test_padding_and_gaps_are_zero(namespace):
    """Nothing of what was there before, in the heap or on the shelf, gets into a tree."""
    records = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    dirty = np.frombuffer(b"\xaa" * (records.itemsize * (1 << 17)), records)
    with pymm.shelf("gaps", pmem_path=namespace, size_mb=64) as s:
        s.filler = np.full(20 << 20, 0xBB, np.uint8)
        del s.filler
        for n in (10, 1 << 17):
            s.x = [dirty[:n:2], np.zeros(1, np.uint8), np.zeros(1, np.uint8)]
            data = bytes_of(s, "x")
            assert b"\xbb" not in data
            first = s.x[0].addr - s._state.handle.get("x").address
            element = data[first : first + records.itemsize]
            assert element[1:8] == bytes(7) and element[0] == 0xAA


def test_checksums(namespace):
    with pymm.shelf("sums", pmem_path=namespace, size_mb=64, checksum=True) as s:
        s.small, s.x = {"a": 1}, {"a": np.arange(1 << 18), "b": [np.arange(9)], "c": np.arange(1 << 19)[::2]}
        assert s.x["a"][7] == 7  # opening it takes no checksum away
        assert all(entry["checksum"] is not None for entry in s._state.handle.entries())
    report = pymm.fsck(namespace, scrub=True)
    assert report.clean and report["sums"].scrubbed == 2


def test_a_shortened_file_is_an_error(namespace):
    s = pymm.shelf("cut", pmem_path=namespace, size_mb=16)
    s.x = list(range(100_000))
    x = s.x
    assert x[5] == 5
    entry = s._state.handle.entries()[0]
    os.truncate(f"{namespace}/cut.data", entry["offset"] + 4096)
    assert x[5] == 5
    with pytest.raises(pymm.IoError, match="'x'"):
        x[99_999]
    with pytest.raises(pymm.IoError):
        x.plain()


def test_killed_in_an_assignment(namespace, child):
    """There is the old container or the new one."""
    code = """
        import sys, numpy as np, pymm
        s = pymm.shelf("k", pmem_path=sys.argv[1], size_mb=64)
        i = s.x["n"] if "x" in s else 0
        while True:
            i += 1
            s.x = {"n": i, "a": np.full(100_000, i), "b": [i] * 1000, "c": {"d": np.full(3, i)}}
            print(i, flush=True)
    """
    acknowledged = 0
    for _ in range(3):
        one = child(code, namespace)
        for _ in range(5):
            acknowledged = int(one.line())
        acknowledged = int((one.kill() or [acknowledged])[-1])
        with pymm.shelf("k", pmem_path=namespace) as s:
            n = s.x["n"]
            assert n in (acknowledged, acknowledged + 1)
            assert np.all(s.x["a"] == n) and set(s.x["b"]) == {n} and s.x["c"]["d"].tolist() == [n] * 3


class Counting:
    """A block that counts what is read of it."""

    def __init__(self, block):
        self.block, self.read_bytes, self.calls = block, 0, 0

    def __getattr__(self, name):
        return getattr(self.block, name)

    def read(self, offset, size):
        self.read_bytes += size
        self.calls += 1
        return self.block.read(offset, size)

    def checksum(self, offset, size):
        self.read_bytes += size
        return self.block.checksum(offset, size)


def counted(s, name):
    block = Counting(s._state.handle.get(name))
    return block, _containers.from_block(block)


def test_an_element_costs_the_same_whatever_there_is(namespace):
    with pymm.shelf("large", pmem_path=namespace, size_mb=512) as s:
        costs = {}
        for n in (10, 1000, 1_000_000):
            s[f"l{n}"] = list(range(n))
            s[f"d{n}"] = {f"key {i}": i for i in range(n)}
            for name, key in ((f"l{n}", n // 2), (f"d{n}", f"key {n // 3}")):
                block, x = counted(s, name)
                opened = block.read_bytes
                assert opened <= 48 and len(x) == n
                assert x[key] == int(str(key).split()[-1])
                costs[name] = block.read_bytes
                if name[0] == "d":
                    assert "absent" not in x
                    assert block.read_bytes < 40 * (4096 + 16), block.read_bytes
        assert costs["l1000000"] <= 48 + 4096 + 100  # the block that it is in
        assert costs["d1000000"] < 24 * (4096 + 16)
        assert s.l1000000[-1] == 999_999 and s.d1000000["key 999999"] == 999_999
        assert sum(s.l1000000) == sum(range(1_000_000))
