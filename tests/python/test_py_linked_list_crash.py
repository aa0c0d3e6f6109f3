"""Linked lists against a plain list, under SIGKILL, by threads and processes, and with bytes that nobody wrote so."""

import os
import signal
import struct
import subprocess
import threading

import numpy as np
import pytest
from forged import Bytes
from forged import sealed as sealed_tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from killed import acknowledged
from test_py_linked_list import bytes_of, same

import pymm
from pymm import _linked_list, _list_nodes, _pymm

SLOW = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 200), 1 << 200),
    st.floats(allow_nan=False),
    st.text(max_size=40),
    st.binary(max_size=40),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.integers(0, 200).map(lambda n: np.arange(n, dtype="i2")),
)


class Machine(RuleBasedStateMachine):
    """Every step on the shelf and on a plain list; now and then the shelf is opened anew."""

    namespace = ""

    @initialize(values=st.lists(VALUES, max_size=100))
    def start(self, values):
        self.s = pymm.shelf("model", pmem_path=self.namespace, size_mb=32, mode="w")
        self.s.l = pymm.linked_list(values)
        self.model = list(values)

    def check(self):
        assert len(self.s.l) == len(self.model)
        version = self.s.l._now()
        assert 0 <= version.live <= version.size - 64

    @rule(value=VALUES)
    def append(self, value):
        self.s.l.append(value)
        self.model.append(value)
        self.check()

    @rule(values=st.lists(VALUES, max_size=5), times=st.integers(1, 60))
    def extend(self, values, times):
        self.s.l += values * times
        self.model += values * times
        self.check()

    @rule(value=VALUES, at=st.integers(-200, 200))
    def insert(self, value, at):
        self.s.l.insert(at, value)
        self.model.insert(at, value)
        self.check()

    @precondition(lambda self: self.model)
    @rule(value=VALUES, data=st.data())
    def assign(self, value, data):
        at = data.draw(st.integers(-len(self.model), len(self.model) - 1))
        self.s.l[at] = value
        self.model[at] = value
        self.check()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def delete(self, data):
        at = data.draw(st.integers(-len(self.model), len(self.model) - 1))
        del self.s.l[at]
        del self.model[at]
        self.check()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def look(self, data):
        at = data.draw(st.integers(-len(self.model), len(self.model) - 1))
        assert same([self.s.l[at]], [self.model[at]])

    @rule(start=st.none() | st.integers(-300, 300), stop=st.none() | st.integers(-300, 300), step=st.sampled_from([1, 2, -1]))
    def slice(self, start, stop, step):
        part = slice(start, stop, step)
        assert same(self.s.l[part], self.model[part])

    @rule(start=st.integers(-300, 300), length=st.integers(0, 100), step=st.sampled_from([1, 1, 1, 3, -1]))
    def delete_slice(self, start, length, step):
        part = slice(start, start + length * (1 if step > 0 else -1), step)
        del self.s.l[part]
        del self.model[part]
        self.check()

    @rule()
    def reverse(self):
        self.s.l.reverse()
        self.model.reverse()
        self.check()

    @rule(times=st.integers(1, 40))
    def shrink(self, times):
        for _ in range(min(times, len(self.model))):
            assert same([self.s.l.pop()], [self.model.pop()])
        self.check()

    @rule()
    def reopen(self):
        self.s.close()
        self.s = pymm.shelf("model", pmem_path=self.namespace)
        assert same(self.s.l, self.model) and same(list(reversed(self.s.l)), self.model[::-1])

    def teardown(self):
        if not hasattr(self, "s"):
            return
        self.reopen()
        version = self.s.l._now()
        # What is counted as in use is what there is.
        assert version.live >= _linked_list._planned(_linked_list._moved(version)).live
        assert version.size - 64 - version.live <= max(version.live, 8192) + 8192
        self.s.close()
        assert pymm.fsck(self.namespace, "model", scrub=True).clean


def test_against_a_plain_list(namespace):
    Machine.namespace = namespace
    case = Machine.TestCase
    case.settings = settings(
        deadline=None, max_examples=40, stateful_step_count=40, suppress_health_check=list(HealthCheck)
    )
    case().runTest()


@pytest.mark.parametrize("after", [1, 40, 200, 500])
def test_sigkill(namespace, after):
    """Every change that was acknowledged is there, and of the one under way all or nothing."""
    program = """if True:
        import sys, numpy as np, pymm
        s = pymm.shelf("killed", pmem_path=sys.argv[1], size_mb=16)
        s.l = pymm.linked_list()
        for i in range(1, 100000):
            # Number i: what it puts there tells.
            if i % 7 == 0:
                del s.l[0]
            elif i % 5 == 0:
                s.l += [("part", i, n) for n in range(20)]
            elif i % 3 == 0:
                s.l[-1] = np.full(300, i)
            else:
                s.l.append(i)
            print(i, flush=True)
    """
    last = acknowledged(program, namespace, after)

    def state(number):
        wanted = []
        for i in range(1, number + 1):
            if i % 7 == 0:
                del wanted[0]
            elif i % 5 == 0:
                wanted += [("part", i, n) for n in range(20)]
            elif i % 3 == 0:
                wanted[-1] = np.full(300, i)
            else:
                wanted.append(i)
        return wanted

    with pymm.shelf("killed", pmem_path=namespace) as s:
        found = s.l.plain()
        assert same(found, state(last)) or same(found, state(last + 1))
        s.l.append("goes on")
        assert s.l[-1] == "goes on" and len(s.l) == len(found) + 1
    assert pymm.fsck(namespace, "killed", scrub=True).clean


def test_threads(shelf):
    """Appends, deletions and reads at once: each is one step."""
    shelf.l = pymm.linked_list()
    other = shelf._open("l")
    errors = []

    def work(number):
        try:
            for i in range(60):
                (shelf.l if i % 2 else other).extend([(number, i, "first"), (number, i, "second")])
                seen = list(shelf.l)
                mine = [v for v in seen if v[0] == number]
                assert [v[1:] for v in mine] == [(n, text) for n in range(i + 1) for text in ("first", "second")]
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(shelf.l) == 360
    pairs = shelf.l.plain()
    assert all(a[:2] == b[:2] for a, b in zip(pairs[::2], pairs[1::2]))


def test_in_a_forked_child(shelf):
    """The list is the parent's: an error, and no wait for a lock that a thread of the parent has."""
    shelf.l = pymm.linked_list([1])
    l = shelf.l
    held, done = threading.Event(), threading.Event()

    def hold():
        with l._lock():
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            l.append(2)
        except pymm.ClosedError:
            os._exit(0)
        finally:
            os._exit(1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    l.append(3)
    assert l == [1, 3]


def test_a_reader_sees_what_the_writer_does(namespace, child):
    reader = child(
        """
        import sys, pymm
        s = pymm.shelf("shared", pmem_path=sys.argv[1], mode="r")
        l = s.l
        for line in sys.stdin:
            print(len(l), l[-1], len(s.l), sum(1 for v in l), flush=True)
        """,
        namespace,
    )
    with pymm.shelf("shared", pmem_path=namespace, size_mb=16) as s:
        s.l = pymm.linked_list([0])
        for i in range(1, 100):
            s.l.append("x" * i)
            if i % 10 == 0:
                reader.tell()
                assert reader.line() == f"{i + 1} {'x' * i} {i + 1} {i + 1}"
    reader.finish()


# --- bytes that nobody wrote so -----------------------------------------------------------------------


class ListBytes(Bytes):
    kind = _list_nodes.KIND


class Handle:
    """A shelf of one list, for reading."""

    def is_exactly(self, *version):
        return True


def read_all(data):
    x = pymm.linked_list.shelved_linked_list(Handle(), ListBytes(data))
    plain = x.plain()
    assert len(plain) == len(x) == len(list(x)) == len(x[::2]) + len(x[1::2])
    _linked_list._planned(_linked_list._moved(x._now()))
    return plain


def refused(data):
    try:
        read_all(data)
    except (pymm.CorruptError, pymm.VersionError):
        return True
    return False


SAMPLE = [1, "a text that is longer", {"a": [2.5]}, np.float32(1), 10**30, None, np.arange(3)]


def made(shelf, changes=3):
    shelf.l = pymm.linked_list(SAMPLE * 12)
    for i in range(changes):
        shelf.l.append(f"change number {i}")
        del shelf.l[i]
    return bytes_of(shelf, "l")


def test_every_flipped_byte_is_noticed(shelf):
    sound = made(shelf, 0)
    wanted = shelf.l.plain()
    assert same(read_all(sound), wanted)
    for at in range(0, len(sound), 3):
        data = bytearray(sound)
        data[at] ^= 0x41
        if not refused(data):  # padding, garbage, or an element of an array, which have no checksum
            found = read_all(data)
            assert all(same([a], [b]) for a, b in zip(found, wanted) if not isinstance(b, np.ndarray)), at
    for size in range(0, len(sound), 7):
        assert refused(sound[:size])


def sealed(data):
    """The same with checksums that are right, as far as nodes are found."""
    for at in range(0, len(data) - 16, 8):
        _, level, items, own = struct.unpack_from("<IHHQ", data, at)
        size = 16 + 16 * items
        if own == at and items <= 40 and at + size <= len(data):
            struct.pack_into("<I", data, at, 0)
            struct.pack_into("<I", data, at, _pymm.checksum(bytes(data[at : at + size])))
    root = len(data) - 64
    struct.pack_into("<I", data, root + 12, 0)
    struct.pack_into("<I", data, root + 12, _pymm.checksum(bytes(data[root:])))
    return data


@given(st.data())
@SLOW
def test_forged_bytes_under_right_checksums(shelf, data):
    if "l" not in shelf:
        made(shelf)
    forged = bytes_of(shelf, "l")
    nodes = [
        at for at in range(0, len(forged) - 16, 8)
        if struct.unpack_from("<Q", forged, at + 8)[0] == at and 1 <= struct.unpack_from("<H", forged, at + 6)[0] <= 32
    ]  # fmt: skip
    places = [len(forged) - 64 + 8 * n for n in range(2, 7)]
    for at in nodes:
        places += range(at, at + 16 + 16 * struct.unpack_from("<H", forged, at + 6)[0], 8)
    for _ in range(data.draw(st.integers(1, 4))):
        word = data.draw(st.one_of(
            st.integers(0, 2**64 - 1), st.integers(0, len(forged) // 8).map(lambda n: 8 * n), st.sampled_from(nodes),
            st.tuples(st.sampled_from([*range(22), 32, 33]), st.integers(0, 300)).map(lambda p: p[1] << 8 | p[0]),
        ))  # fmt: skip
        struct.pack_into("<Q", forged, data.draw(st.sampled_from(places)), word)
    try:
        read_all(sealed(forged))
    except (pymm.CorruptError, pymm.VersionError):
        pass


def test_an_object_where_a_container_should_be(shelf):
    """Containers only are trees in a list: an object's tag is damage, not a class that nobody has."""
    shelf.l = pymm.linked_list([["pandas.Series", {"a": 1}]])
    forged = bytes_of(shelf, "l")
    at = forged.index(b"PYMMTREE")
    (size,) = struct.unpack_from("<Q", forged, at + 16)
    tree = forged[at : at + size]
    assert tree[32] == 16
    tree[32] = 20
    forged[at : at + size] = sealed_tree(tree)
    assert refused(forged)


def test_values_that_are_used_several_times(shelf):
    shelf.l = pymm.linked_list(["x" * 1000] + [1] * 31)
    data = bytes_of(shelf, "l")
    node = next(at for at in range(0, len(data), 8) if struct.unpack_from("<Q", data, at + 8)[0] == at)
    for n in range(32):
        data[node + 16 + 16 * n : node + 32 + 16 * n] = data[node + 16 : node + 32]
    x = pymm.linked_list.shelved_linked_list(Handle(), ListBytes(sealed(data)))
    assert x[31] == "x" * 1000
    for whole in (x.plain, lambda: repr(x), lambda: x == [1] * 32, lambda: _linked_list._moved(x._now())):
        with pytest.raises(pymm.CorruptError, match="several times"):
            whole()


def test_damage_on_the_media_is_found(namespace):
    with pymm.shelf("scrubbed", pmem_path=namespace, size_mb=16) as s:
        s.l = pymm.linked_list(range(3000))
        (entry,) = s._state.handle.entries("l")
        at = s.l._now().leaf(1500)[1]
    assert pymm.fsck(namespace, "scrubbed", scrub=True).clean
    with open(os.path.join(namespace, "scrubbed.data"), "r+b") as f:
        f.seek(entry["offset"] + at + 40)
        f.write(b"damage")
    report = pymm.fsck(namespace, "scrubbed", scrub=True)
    assert not report.clean and "list" in str(report)
    with pymm.shelf("scrubbed", pmem_path=namespace) as s:
        assert s.l[0] == 0 and s.l[2999] == 2999
        for touch in (lambda: s.l[1500], lambda: list(s.l), lambda: s.l.plain()):
            with pytest.raises(pymm.CorruptError, match="'l'.*checksum"):
                touch()
        s.l.append(3000)
        assert s.l[3000] == 3000


def test_the_tool_shows_them(namespace):
    with pymm.shelf("shown", pmem_path=namespace, size_mb=16) as s:
        s.l = pymm.linked_list([1, "two", None, np.arange(3), [4, {"five": 6.5}], "x" * 20, b"long enough bytes"])
        s.big = pymm.linked_list(range(5000))

    def tool(*arguments):
        done = subprocess.run(["pymmctl", *arguments], capture_output=True, text=True, cwd=namespace)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert tool("cat", "shown/l") == (
        "[1, 'two', None, array((3,), '<i8'), [4, {'five': 6.5}], 'xxxxxxxxxxxxxxxxxxxx', b'long enough bytes']\n"
    )
    assert tool("cat", "--json", "shown/l") == (
        '[1,"two",null,{"dtype":"<i8","shape":[3]},[4,{"five":6.5}],"xxxxxxxxxxxxxxxxxxxx","b\'long enough bytes\'"]\n'
    )
    assert tool("cat", "--json", "shown/big") == str(list(range(5000))).replace(" ", "") + "\n"
    assert "linked_list" in tool("info", "shown/l") and "linked_list" in tool("list", "-l", "shown")
    tool("cp", "shown/l", "shown/copy")
    tool("mv", "shown/big", "shown/moved")
    tool("fsck", "--scrub", "shown")
    with pymm.shelf("shown", pmem_path=namespace) as s:
        assert len(s.copy_of if "copy_of" in s else s["copy"]) == 7 and s.moved == list(range(5000))
        s.moved.append(1)
        s["copy"].append(1)
        assert len(s.l) == 7 and len(s["copy"]) == 8
