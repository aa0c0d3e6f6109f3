"""`pymm.linked_list`: the list on a shelf that can be changed."""

import copy
import json
import pickle
from collections.abc import MutableSequence

import numpy as np
import pytest

import pymm


def same(found, wanted):
    """Whether a list on a shelf is the plain one, arrays included."""
    return len(found) == len(wanted) and all(map(same_element, found, wanted))


def same_element(found, wanted):
    if isinstance(wanted, np.ndarray):
        return found.dtype == wanted.dtype and found.shape == wanted.shape and np.array_equal(found, wanted)
    if isinstance(wanted, list):
        return same(found, wanted)
    return type(found) is type(wanted) and found == wanted


def bytes_of(s, name):
    return bytearray(memoryview(s._state.handle.get(name)))


VALUES = [
    1,
    -(10**400),
    2.5,
    1 + 2j,
    True,
    None,
    "",
    "short",
    "longer than eight bytes, with \udc80",
    b"",
    b"bytes that are long",
    np.float32(1.5),
    np.datetime64("2026-01-01"),
    np.arange(5),
    np.zeros((3, 4), "f4", order="F"),
    np.arange(20)[::3],
    np.zeros(0),
    np.array(7),
    np.zeros(3, "i2,f4"),
    [1, [2, "three"]],
    [],
]


def test_the_seed_s_usage(shelf, reopen):
    shelf.l = pymm.linked_list()
    shelf.l.append(1)
    shelf.l.append(np.arange(5))
    shelf.l.append("text")
    assert len(shelf.l) == 3
    shelf.l[-1] = "x"
    del shelf.l[0]
    assert [type(v).__name__ for v in shelf.l] == ["shelved_ndarray", "str"]
    s = reopen(shelf)
    assert same(s.l, [np.arange(5), "x"])
    for index in (2, -3, 100, -(10**20)):
        for touch in (
            lambda: s.l[index],
            lambda: s.l.__setitem__(index, 1),
            lambda: s.l.__delitem__(index),
            lambda: s.l.pop(index),
        ):
            with pytest.raises(IndexError, match="out of range") as caught:
                touch()
            assert isinstance(caught.value, RuntimeError) and isinstance(caught.value, pymm.OutOfRange)
    assert len(s.l) == 2
    s.close()


def test_what_it_is(shelf):
    shelf.l = pymm.linked_list([1])
    assert type(shelf.l) is pymm.linked_list.shelved_linked_list
    assert isinstance(shelf.l, MutableSequence)
    assert shelf.l.name == "l" and shelf.l is shelf.l
    assert "pymm.linked_list" in shelf.supported_types()
    assert repr(shelf.l) == "[1]" == str(shelf.l)
    assert shelf.l and not pymm.linked_list().value
    assert "linked_list" in repr(shelf) and "linked_list" in shelf.inspect()
    with pytest.raises(TypeError):
        hash(shelf.l)
    shelf.l.persist()
    shelf.persist()


def test_every_kind_of_value(shelf, twice):
    shelf.l = pymm.linked_list(VALUES)
    shelf.m = pymm.linked_list()
    for value in VALUES:
        shelf.m.append(value)
    shelf.n = pymm.linked_list([0] * len(VALUES))
    for number, value in enumerate(VALUES):
        shelf.n[number] = value
    for s in twice():
        for found in (s.l, s.m, s.n):
            assert same(found, VALUES)
            assert same(found.plain(), VALUES) and all(type(a) is type(b) for a, b in zip(found.plain(), VALUES))
            assert same([found[i] for i in range(-len(VALUES), 0)], VALUES)
            assert same(reversed_of(found), VALUES[::-1])


def reversed_of(found):
    return list(reversed(found))


def test_containers_in_it_are_read_only_parts(shelf, twice):
    shelf.l = pymm.linked_list([{"a": np.arange(3), 1: (2, [3])}, (1,), [4]])
    for s in twice():
        inner, pair, plain = s.l
        assert inner["a"].tolist() == [0, 1, 2] and inner[1][1][0] == 3 and pair == (1,) and plain == [4]
        assert not inner.is_whole
        with pytest.raises(TypeError, match="read-only"):
            inner["a"] = 1
        with pytest.raises(ValueError):
            inner["a"][0] = 1
        with pytest.raises(pymm.InvalidArgument, match="part"):
            s.erase(inner)


def test_arrays_are_views_that_stay_valid(shelf):
    shelf.l = pymm.linked_list([np.arange(1000)])
    a = shelf.l[0]
    assert not a.flags.writeable and isinstance(a, np.ndarray)
    assert np.shares_memory(a, shelf.l[0]) and a.addr % 64 == 0
    for i in range(100):
        shelf.l.append(np.full(1000, i))
    b = shelf.l[-1]
    del shelf.l[:]
    shelf.l.append(5)
    del shelf.l
    for i in range(50):
        shelf.junk = np.full(3000, -1)
    assert a.tolist() == list(range(1000)) and (b == 99).all()


def test_what_it_cannot_hold(shelf):
    shelf.l = pymm.linked_list([1, 2])
    for change in (
        lambda v: shelf.l.append(v),
        lambda v: shelf.l.insert(0, v),
        lambda v: shelf.l.__setitem__(0, v),
        lambda v: shelf.l.extend([3, v]),
        lambda v: setattr(shelf, "m", pymm.linked_list([3, v])),
    ):
        for value in ({1, 2}, object(), np.array([object()]), [1, {2}], {"a": {3}}, pymm.ndarray(3), range(3)):
            with pytest.raises(TypeError, match="supported|cannot|Python objects"):
                change(value)
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        shelf.l.append(loop)
    assert shelf.l == [1, 2] and "m" not in shelf
    with pytest.raises(TypeError, match=r"^l\[1\]: set "):
        shelf.l.append([1, {2}])
    with pytest.raises(TypeError, match=r"^l: set "):
        shelf.l.append({2})
    with pytest.raises(TypeError):
        shelf.l["a"]
    with pytest.raises(TypeError):
        shelf.l[0:1] = [1]


def test_methods(shelf, twice):
    wanted = []
    shelf.l = pymm.linked_list()
    for change in (
        lambda x: x.extend(range(100)),
        lambda x: x.insert(0, "first"),
        lambda x: x.insert(-1, "last but one"),
        lambda x: x.insert(10**6, "last"),
        lambda x: x.insert(-(10**6), "new first"),
        lambda x: x.pop(),
        lambda x: x.pop(0),
        lambda x: x.pop(-5),
        lambda x: x.remove(50),
        lambda x: x.reverse(),
        lambda x: x.extend(x),
        lambda x: x.__delitem__(slice(10, 20)),
        lambda x: x.__delitem__(slice(None, None, 3)),
        lambda x: x.__delitem__(slice(30, 10, -1)),
        lambda x: x.__delitem__(slice(5, 2)),
        lambda x: x.extend([]),
        lambda x: x.extend(i for i in range(5)),
    ):
        assert change(shelf.l) == change(wanted)
        assert shelf.l == wanted
    for s in twice():
        assert s.l == wanted and wanted == s.l and s.l != wanted[1:] and s.l != [*wanted[1:], 5] and s.l != 5
        assert s.l == pymm_list(s, wanted) and s.l == s.l
        for part in (slice(None), slice(3, 9), slice(-4, None), slice(None, None, -2), slice(9, 3)):
            assert s.l[part] == wanted[part] and type(s.l[part]) is list
        some = wanted[-10]
        assert s.l.index(some) == wanted.index(some) and s.l.count(some) == wanted.count(some) > 0
        assert s.l.index(some, -12) == wanted.index(some, -12)
        assert s.l.index(some, -12, -3) == wanted.index(some, -12, -3)
        assert some in s.l and "absent" not in s.l
        for absent in (lambda: s.l.index("absent"), lambda: s.l.remove("absent"), lambda: s.l.index(some, 0, 0)):
            with pytest.raises(ValueError):
                absent()
        assert copy.copy(s.l) == copy.deepcopy(s.l) == s.l.copy() == pickle.loads(pickle.dumps(s.l)) == wanted
        assert type(pickle.loads(pickle.dumps(s.l))) is list
        assert json.loads(json.dumps(s.l, default=lambda x: x.plain())) == wanted
    with pymm.shelf("test", pmem_path=shelf._state.path) as s:
        s.l.clear()
        assert s.l == [] and not s.l and list(s.l) == []
        with pytest.raises(IndexError):
            s.l.pop()
        s.l.reverse()
        s.l.append(1)
        assert s.l == [1]


def pymm_list(s, wanted):
    s.other = list(wanted)
    return s.other


def test_augmented_assignment(shelf, reopen):
    shelf.l = pymm.linked_list([1])
    before = shelf.l
    shelf.l += [2, 3]
    assert shelf.l is before and before == [1, 2, 3]
    shelf["l"] += (4,)
    shelf.l = shelf.l
    assert before == [1, 2, 3, 4] and len(shelf) == 1
    s = reopen(shelf)
    assert s.l == [1, 2, 3, 4]
    s.close()


def test_two_objects_of_one_list(shelf):
    shelf.l = pymm.linked_list([1])
    a, b = shelf.l, shelf._open("l")
    assert a is not b
    for i in range(200):
        (a, b)[i % 2].append("x" * (i % 30))
        assert len(a) == len(b) == i + 2
    b.clear()
    a.append(5)
    assert a == b == [5]
    assert a[0] == b[-1] == 5


def test_iteration_sees_what_changes(shelf):
    shelf.l = pymm.linked_list([0])
    seen = []
    for v in shelf.l:
        seen.append(v)
        if v < 100:
            shelf.l.append(v + 1)
    assert seen == list(range(101))
    for v in reversed(shelf.l):
        shelf.l.clear()
    assert shelf.l == []


def test_a_former_list(shelf):
    def refused(x):
        for touch in (lambda: len(x), lambda: x.append(1), lambda: x[0], lambda: list(x), lambda: x.clear()):
            with pytest.raises(pymm.InvalidArgument, match="former"):
                touch()
        return True

    shelf.l = pymm.linked_list([1])
    old = shelf.l
    shelf.l = pymm.linked_list([1])
    assert refused(old) and shelf.l == [1]
    old = shelf.l
    shelf.l = 5
    assert refused(old) and shelf.l == 5
    shelf.l = pymm.linked_list([1])
    old = shelf.l
    shelf.rename("l", "m")
    assert refused(old)
    shelf.m.append(2)
    old = shelf.m
    shelf.erase(shelf.m)
    assert refused(old) and "m" not in shelf
    shelf.l = pymm.linked_list([1])
    old = shelf.l
    shelf.close()
    with pytest.raises(pymm.ClosedError):
        old.append(1)


def test_copies_and_renames(shelf, twice):
    shelf.l = pymm.linked_list(VALUES)
    shelf.m = shelf.l
    shelf.copy("l", "n")
    shelf.m.append(1)
    shelf.n.append(2)
    shelf.rename("n", "o")
    shelf.o.append(3)
    shelf["d/e"] = shelf.o
    with shelf.batch() as b:
        b["p"] = shelf.l
        b["q"] = pymm.linked_list([1])
    shelf.r = {"list": shelf.l, "more": [shelf.q]}
    shelf.q.append(shelf.q)
    shelf.save(shelf.q, "saved")
    shelf.q.clear()
    for s in twice():
        assert same(s.l, VALUES) and same(s.p, VALUES)
        assert same(s.m, [*VALUES, 1]) and same(s.o, [*VALUES, 2, 3]) and same(s["d/e"], [*VALUES, 2, 3])
        assert type(s.p) is type(s.l)
        assert same(s.r["list"], VALUES) and s.r["more"] == [[1]]
        assert s.load("saved") == [1, [1]] and s.q == []


def test_other_shelves(shelf, namespace):
    shelf.l = pymm.linked_list([1])
    with pymm.shelf("v", backend="mapstore", size_mb=8) as v:
        v.l = shelf.l
        v.l.append(2)
        assert shelf.l == [1] and v.l == [1, 2]
        with pytest.raises(pymm.InvalidArgument, match="not on shelf"):
            shelf.erase(v.l)
        shelf.l = v.l
        assert shelf.l == [1, 2]


def test_read_only(shelf, reopen):
    shelf.l = pymm.linked_list(range(2000))
    shelf.seal("l")
    changes = (lambda x: x.append(1), lambda x: x.clear(), lambda x: x.pop(), lambda x: x.__setitem__(0, 1))
    for mode in (None, "r"):
        s = shelf if mode is None else reopen(shelf, mode)
        for change in changes:
            with pytest.raises(pymm.ReadOnlyError):
                change(s.l)
        assert s.l == list(range(2000))
    s.close()


def test_a_full_shelf(namespace):
    with pymm.shelf("small", pmem_path=namespace, size_mb=2) as s:
        s.l = pymm.linked_list()
        count = 0
        with pytest.raises(pymm.NoSpaceError):
            while True:
                s.l.append(np.full(5000, count))
                count += 1
        assert 20 < count < 60 and len(s.l) == count
        assert all((v == i).all() for i, v in enumerate(s.l))
        del s.l[count // 4 :]
        s.l.append("fits")
        assert len(s.l) == count // 4 + 1
    with pymm.shelf("small", pmem_path=namespace) as s:
        assert len(s.l) == count // 4 + 1 and s.l[-1] == "fits"
    assert pymm.fsck(namespace, "small", scrub=True).clean


def test_what_found_no_room_one_way_is_whole_the_other_way(namespace):
    """A list that cannot be written anew is appended to, with the same values."""
    values = [{"text": "x" * 5000, "array": np.arange(2000)}, np.arange(3000), "y" * 9000]
    with pymm.shelf("tight", pmem_path=namespace, size_mb=4) as s:
        s.l = pymm.linked_list([np.full(150000, 7)])
        s.filler = np.zeros(100000)
        keep = s.l[0]
        for _ in range(4):
            s.l.extend(values)
            s.l[0] = 0
            s.l[0] = keep
        assert len(s.l) == 13 and same([s.l[0]], [keep])
        for i in range(1, 13):
            assert same_plain(s.l[i], values[(i - 1) % 3])
    assert pymm.fsck(namespace, "tight", scrub=True).clean


def same_plain(found, wanted):
    if isinstance(wanted, dict):
        return list(found) == list(wanted) and all(same_element(found[key], wanted[key]) for key in wanted)
    return same_element(found, wanted)


def test_a_refused_replacement_does_no_harm(shelf, monkeypatch):
    """Where the one way fails after the values were written, the other way writes the same ones."""
    values = [{"text": "x" * 5000, "array": np.arange(2000)}, np.arange(3000), "y" * 9000]
    shelf.l = pymm.linked_list(range(100))
    l = shelf.l
    refusals = []

    class Refusing:
        def __init__(self, handle):
            self._handle = handle

        def __getattr__(self, name):
            return getattr(self._handle, name)

        def replace(self, *arguments):
            refusals.append(arguments)
            raise pymm.NoSpaceError("as if")

    l._handle = Refusing(l._handle)
    monkeypatch.setattr(pymm._linked_list, "_GARBAGE", -1 << 60)
    monkeypatch.setattr(pymm._linked_list, "_SMALL", 1 << 60)
    l.extend(values)
    assert refusals
    assert same(l[:100], list(range(100))) and all(map(same_plain, l[100:], values))


def test_space_is_bounded(namespace):
    """What is garbage is left behind: a list that is overwritten for ever does not grow for ever."""
    with pymm.shelf("space", pmem_path=namespace, size_mb=16) as s:
        s.l = pymm.linked_list(range(100))
        sizes = []
        for i in range(600):
            s.l[i % 100] = f"value {i}"
            sizes.append(s._state.handle.get("l").size)
        assert max(sizes) < 40000
        s.l[:50]
        s.l.extend(np.zeros(100000) for _ in range(8))
        for _ in range(8):
            s.l.pop()
        assert s._state.handle.get("l").size < 40000 and len(s.l) == 100


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 1023, 1025, 5000])
def test_an_append_writes_little_and_opening_reads_little(shelf, count):
    shelf.l = pymm.linked_list(range(count))
    before = shelf._state.handle.get("l").size
    shelf.l.append(-1)
    after = shelf._state.handle.get("l").size
    assert shelf.l == [*range(count), -1]
    assert after - before <= 4096
    # What opening and one element read, of all.
    read = []

    class Counted:
        def __init__(self, block):
            self.name, self.size, self.id, self.sequence = block.name, block.size, block.id, block.sequence
            self.read = lambda offset, size: read.append(size) or block.read(offset, size)

    version = pymm._list_nodes.Version(Counted(shelf._state.handle.get("l")))
    assert sum(read) == 64
    version.leaf(count // 2)
    assert sum(read) <= 64 + 4 * 600


def test_checksums(namespace):
    with pymm.shelf("sums", pmem_path=namespace, size_mb=16, checksum=True) as s:
        s.l = pymm.linked_list()
        for value in VALUES * 8:
            s.l.append(value)
    assert pymm.fsck(namespace, "sums", scrub=True).clean
    with pymm.shelf("sums", pmem_path=namespace, mode="r") as s:
        assert same(s.l, VALUES * 8)
