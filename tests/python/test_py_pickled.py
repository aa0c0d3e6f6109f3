"""pymm.pickled: what is stored and loaded only where it is allowed."""

import collections
import fractions
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from forged import Bytes, sealed
from test_py_containers import bytes_of

import killed
import pymm
from pymm import _nest, _pickled


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


class Trap:
    """Unpickling it leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def trusted(namespace):
    with pymm.shelf("test", pmem_path=namespace, size_mb=16, allow_pickle=True) as s:
        yield s


def test_any_object(trusted, namespace):
    for value in (
        fractions.Fraction(1, 3), {1, 2}, collections.Counter("abca"), None, 5, [1, {"a": object}], "x" * 100_000,
        collections.deque([1]), np.arange(3), bytearray(b"x" * 5000), range(5), np.array([1, "a", None], object),
    ):  # fmt: skip
        trusted.x = pymm.pickled(value)
        assert type(trusted.x) is type(value) and repr(trusted.x) == repr(value)
    trusted.x = pymm.pickled(Point(1, np.arange(1000)))
    trusted.close()
    with pymm.shelf("test", pmem_path=namespace, mode="r", allow_pickle=True) as s:
        assert s.x.x == 1 and s.x.y.sum() == 499500 and repr(pymm.pickled(5)) == "pymm.pickled(5)"


def test_arrays_in_it_are_views(trusted):
    value = Point(np.arange(1000.0), {"f": np.asfortranarray(np.ones((30, 40))), "empty": np.zeros((0, 3)), "s": np.arange(10)[::2]})
    trusted.x = pymm.pickled(value)
    found = trusted.x
    block = trusted._state.handle.get("x")
    for array in (found.x, found.y["f"]):
        place = array.__array_interface__["data"][0]
        assert block.address <= place < block.address + block.size and place % 64 == 0 and not array.flags.writeable
    assert found.y["f"].flags.f_contiguous and found.y["empty"].shape == (0, 3) and found.y["s"].tolist() == [0, 2, 4, 6, 8]
    del trusted.x, block
    trusted.other = np.zeros(100_000)
    trusted.close()
    assert found.x.sum() == 499500 and (found.y["f"] == 1).all()


def test_each_access_gives_another(trusted):
    trusted.x = pymm.pickled(Point(1, 2))
    x = trusted.x
    x.x = 50
    assert trusted.x.x == 1
    trusted.x = pymm.pickled(x)
    assert trusted.x.x == 50


def test_nothing_without_leave(namespace, tmp_path):
    trace = str(tmp_path / "trace")
    with pymm.shelf("test", pmem_path=namespace, size_mb=16, checksum=True, allow_pickle=True) as s:
        s.x = pymm.pickled(Trap(trace))
        s.y = 5
    with pymm.shelf("test", pmem_path=namespace) as s:
        for get in (lambda: s.x, lambda: s["x"], lambda: getattr(s, "x", None)):
            with pytest.raises(pymm.PickleRefused, match="allow_pickle=True"):
                get()
        for kind in (ValueError, pymm.Error):
            with pytest.raises(kind):
                s.x
        sequence = s._state.handle.stat()["sequence"]
        with pytest.raises(pymm.PickleRefused, match="'z'.*allow_pickle=True"):
            s.z = pymm.pickled(1)
        with pytest.raises(pymm.PickleRefused):
            with s.batch() as b:
                b["z"] = pymm.pickled(1)
        assert s._state.handle.stat()["sequence"] == sequence and "z" not in s
        assert "x" in s and s.items == ["x", "y"] and s.y == 5 and "x" in dir(s)
        assert "pickled" in repr(s) and "pickled" in s.inspect(verbose=True) and "pickled" in s._repr_html_()
        assert "pymm.pickled" in s.supported_types()
        s.copy("x", "z")
        s.rename("z", "w")
        s.seal("w")
    assert pymm.fsck(namespace, "test", scrub=True).clean
    assert not os.path.exists(trace)
    with pymm.shelf("test", pmem_path=namespace, mode="r", allow_pickle=True) as s:
        s.w
        assert os.path.exists(trace)


def test_for_one_variable(namespace):
    with pymm.shelf("test", pmem_path=namespace, size_mb=16, allow_pickle=True) as s:
        s.x, s.n = pymm.pickled({1, 2}), 5
    with pymm.shelf("test", pmem_path=namespace) as s:
        assert pymm.pickled.load(s, "x") == {1, 2}
        with pytest.raises(pymm.PickleRefused):
            s.x
        with pytest.raises(pymm.InvalidArgument, match="not pickled"):
            pymm.pickled.load(s, "n")
        with pytest.raises(KeyError):
            pymm.pickled.load(s, "absent")


class Fussy:
    def __reduce__(self):
        return {}.__getitem__, ("nowhere",)


def test_a_key_error_in_it_is_its_own(trusted):
    trusted.x = pymm.pickled(Fussy())
    with pytest.raises(KeyError, match="nowhere"):
        trusted.x
    assert not hasattr(trusted, "absent")


def test_opened_again_it_is_as_it_was(namespace):
    first = pymm.shelf("test", pmem_path=namespace, size_mb=16)
    for allow, result in ((None, False), (True, True), (None, True), (False, False)):
        again = pymm.shelf("test", pmem_path=namespace, allow_pickle=allow)
        assert again is first
        try:
            first.x = pymm.pickled(1)
        except pymm.PickleRefused:
            assert not result
        else:
            assert result
    first.close()
    with pymm.shelf("test", pmem_path=namespace, allow_pickle=True) as s:
        s.x, s.y = pymm.pickled({1}), np.arange(3)
        y = s.y  # keeps the library's shelf open, and the object that is found again
    assert pymm.shelf("test", pmem_path=namespace) is s
    with pytest.raises(pymm.PickleRefused):
        s.x
    s.close()
    del y
    with pymm.shelf("v", backend="mapstore", allow_pickle=True) as s:
        s.x = pymm.pickled({1})
        assert s.x == {1} and pymm.shelf("v", backend="mapstore") is s


def test_what_cannot_be(trusted):
    with pytest.raises(TypeError, match="'x': .*cannot be pickled"):
        trusted.x = pymm.pickled(lambda: 0)
    with pytest.raises(TypeError, match=r"x\[0\]: .*variable of its own"):
        trusted.x = [pymm.pickled(1)]
    with pytest.raises(TypeError):
        trusted.x = {1, 2}
    assert "x" not in trusted
    with trusted.batch() as b:
        b["x"] = pymm.pickled({1})
    assert trusted.x == {1}
    with pytest.raises(pymm.NoSpaceError):
        trusted.x = pymm.pickled(np.zeros(4 << 20))
    assert trusted.x == {1}


def test_damaged_and_forged_ones(trusted):
    trusted.x = pymm.pickled([Point(1, np.arange(100)), "text"])
    sound = bytes_of(trusted, "x")
    assert _pickled.loaded(Bytes(sound))[1] == "text"
    (meta,) = np.frombuffer(sound, "<u8", 1, 24)
    for at in range(int(meta) + 4):
        data = bytearray(sound)
        data[at] ^= 0x55
        with pytest.raises((pymm.CorruptError, pymm.VersionError)):
            _pickled.loaded(Bytes(data))
    for value in ([], (), (np.zeros(3, "u1"),), (b"x", []), (np.zeros(3, "u1"), (np.zeros(3, "u1"),)), (np.zeros(3), []),
                  (np.zeros((3, 1), "u1"), []), (np.zeros(3, "u1"), [5]), {"a": 1}, [np.zeros(3, "u1"), []]):  # fmt: skip
        plan = _nest.Plan("x", value)
        stage = trusted._state.handle.stage_value(12, plan.size)
        plan.write(stage)
        trusted._state.handle.put_stage("x", stage)
        with pytest.raises(pymm.CorruptError):
            trusted.x
    assert sealed(bytearray(sound)) == sound
    trusted._state.handle.put_value("x", b"short" * 20, 3, "", 1)
    plan = _nest.Plan("x", (np.frombuffer(b"no pickle", "u1"), []))
    stage = trusted._state.handle.stage_value(12, plan.size)
    plan.write(stage)
    trusted._state.handle.put_stage("x", stage)
    trusted._forget_all()
    with pytest.raises(pickle.UnpicklingError):
        trusted.x


PROGRAM = """
import sys
import numpy as np, pymm
s = pymm.shelf('test', pmem_path=sys.argv[1], size_mb=16, allow_pickle=True)
for n in range(1, 1000000):
    s.x = pymm.pickled({n: np.full(20000, n), 'set': {n}})
    print(n, flush=True)
"""


def test_killed_while_storing(namespace):
    acknowledged = killed.acknowledged(PROGRAM, namespace, 3)
    with pymm.shelf("test", pmem_path=namespace, allow_pickle=True) as s:
        (number,) = s.x["set"]
        assert number in (acknowledged, acknowledged + 1) and (s.x[number] == number).all()
    assert pymm.fsck(namespace, "test", scrub=True).clean


def test_importing_does_not_cost(namespace):
    program = "import sys, numpy, pymm; assert not {'pandas', 'scipy', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
