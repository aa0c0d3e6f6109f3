"""backend='mapstore': a shelf in DRAM, which nothing is left of."""

import gc
import os

import numpy as np
import pytest

import pymm


def unnamed():
    """Descriptors of this process on files of volatile shelves."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if "pymm-volatile-" in target:
            assert target.endswith(" (deleted)") and not os.path.exists(os.path.dirname(target))
            found.append(target)
    return found


@pytest.fixture
def volatile():
    s = pymm.shelf("volatile", size_mb=64, backend="mapstore")
    yield s
    s.close()


def test_same_calls(volatile):
    s = volatile
    s.x = pymm.ndarray((10, 10))
    s.x.fill(33)
    s.x += 1
    s.n = pymm.integer_number(5)
    s.n += 1
    s.t = "t" * 10_000
    assert (s.x == 34).all() and s.n == 6 and s.t == "t" * 10_000 and isinstance(s.x, pymm.ndarray.shelved_ndarray)
    s.persist()
    with s.batch() as batch:
        batch["y"] = np.arange(1000)
        batch.rename("n", "m")
    s.copy("y", "z")
    s.seal("z")
    s.rename("y", "w")
    s.erase(s.x)
    assert s.items == ["m", "t", "w", "z"] and s.used > 0 and "volatile" in repr(s) and "volatile" in s.inspect()
    assert s.get_percent_used() == s.used


def test_many_assignments_reuse_the_space(volatile):
    for i in range(40):
        volatile.x = np.full(1 << 20, i)
    assert volatile.x[-1] == 39


def test_nothing_is_in_the_way(volatile, namespace):
    s = pymm.shelf("another", pmem_path=namespace, size_mb=4, backend="mapstore")
    assert os.listdir(namespace) == []
    assert unnamed()
    # The persistent shelf of that name is another.
    with pymm.shelf("another", pmem_path=namespace, size_mb=4) as persistent:
        persistent.x = 1
        assert s.items == [] and persistent is not s
    s.close()


def test_found_by_name_while_it_lives(volatile):
    volatile.x = 1
    assert pymm.shelf("volatile", backend="mapstore") is volatile
    volatile.close()
    with pytest.raises(pymm.ClosedError):
        volatile.x
    again = pymm.shelf("volatile", backend="mapstore", size_mb=4)
    assert again.items == [] and again is not volatile
    again.close()


def test_gone_with_its_last_reference():
    before = unnamed()
    s = pymm.shelf("short", size_mb=4, backend="mapstore")
    s.x = np.arange(3)
    view = s.x
    assert len(unnamed()) > len(before)
    del s
    gc.collect()
    s = pymm.shelf("short", size_mb=4, backend="mapstore")
    assert s.items == [] and view.tolist() == [0, 1, 2]
    view += 1
    assert view.tolist() == [1, 2, 3]
    del s, view
    gc.collect()
    assert unnamed() == before


def test_anew(volatile):
    volatile.x = np.arange(3)
    view = volatile.x
    s = pymm.shelf("volatile", size_mb=4, backend="mapstore", force_new=True)
    assert s.items == [] and view.tolist() == [0, 1, 2]
    s.x = 1
    view += 1
    assert s.x == 1
    s.close()


@pytest.mark.parametrize("mode", ["r", "r+", "x", "w-"])
def test_modes(mode):
    with pytest.raises(pymm.InvalidArgument, match="mapstore"):
        pymm.shelf("x", backend="mapstore", mode=mode)


def test_a_full_one():
    with pymm.shelf("full", size_mb=4, backend="mapstore") as s:
        s.x = np.arange(1000)
        with pytest.raises(pymm.NoSpaceError):
            s.y = np.zeros(1 << 20)
        assert s.items == ["x"]


@pytest.mark.parametrize("name", ["", "a/b", ".."])
def test_illegal_names(name):
    before = unnamed()
    with pytest.raises(pymm.InvalidArgument):
        pymm.shelf(name, backend="mapstore")
    assert unnamed() == before


def test_a_forked_child_has_its_own(volatile):
    volatile.x = 1
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            s = pymm.shelf("volatile", size_mb=4, backend="mapstore")
            s.y = 2
            code = 0 if s.items == ["y"] else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert volatile.items == ["x"]


def test_without_shared_memory(monkeypatch, tmp_path):
    isdir = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path != "/dev/shm" and isdir(path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pymm.shelf("elsewhere", size_mb=4, backend="mapstore") as s:
        s.x = np.arange(1000)
        assert s.x[-1] == 999 and os.listdir(tmp_path) == []
        assert any(target.startswith(str(tmp_path)) for target in unnamed())


@pytest.mark.parametrize("backend", ["redis", "MAPSTORE", "hstore-xx", "", 5])
def test_unknown_backends(namespace, backend):
    with pytest.raises(pymm.InvalidArgument, match="mapstore"):
        pymm.shelf("x", pmem_path=namespace, backend=backend)


@pytest.mark.parametrize("backend", [None, "hstore", "hstore-cc", "hstore-mm"])
def test_persistent_backends_are_one(namespace, backend):
    with pymm.shelf("x", pmem_path=namespace, size_mb=4, backend=backend, load_addr="0x900000000", mm_plugin="p.so") as s:
        s.x = np.arange(3)
    with pymm.shelf("x", pmem_path=namespace, mode="r") as s:
        assert s.x.tolist() == [0, 1, 2]


def test_making_a_shelf_of_its_name_anew_where_one_works(namespace, monkeypatch):
    monkeypatch.chdir(namespace)
    s = pymm.shelf("t", backend="mapstore", size_mb=8)
    s.x = 5
    pymm.shelf("t", pmem_path=namespace, size_mb=8, force_new=True).close()
    assert s.x == 5
    s.close()
