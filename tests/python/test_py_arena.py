"""Results made on the shelf and put there without a copy: shelf.arena()."""

import gc
import weakref

import numpy as np
import pytest

import killed
import pymm

try:
    from numpy._core.multiarray import get_handler_name
except ImportError:  # NumPy 1
    from numpy.core.multiarray import get_handler_name

N = 300  # N x N of float64 are 720,000 bytes


def address(array):
    return array.__array_interface__["data"][0]


def used(s):
    gc.collect()
    return s._state.handle.stat()["used"]


@pytest.fixture
def ab(shelf):
    rng = np.random.default_rng(5)
    shelf.a, shelf.b = rng.random((N, N)), rng.random((N, N))
    return shelf


class Where:
    """Notes where NumPy made an array, without keeping it."""

    def __call__(self, array):
        self.address = address(array)
        return array


@pytest.mark.parametrize("name", ["x", "dir/x"])
def test_a_result_becomes_the_variable(ab, name):
    where = Where()
    expected = np.asarray(ab.a) @ np.asarray(ab.b)
    with ab.arena():
        ab[name] = where(ab.a @ ab.b)
    assert address(ab[name]) == where.address
    assert type(ab[name]) is pymm.ndarray.shelved_ndarray and (ab[name] == expected).all()
    ab[name][0, 0] = 5
    ab[name] += 1
    assert ab[name][0, 0] == 6


def test_as_an_attribute(ab):
    where = Where()
    with ab.arena():
        ab.x = where(ab.a + ab.b)
        assert address(ab.x) == where.address
        # Replacing what was adopted; the former value is in use.
        old = ab.x
        ab.x = where(ab.x * 2)
        assert address(ab.x) == where.address != address(old)
    assert (ab.x == old * 2).all() and (old == ab.a + ab.b).all()


def test_setattr_adopts_too_and_aliases_are_harmless(ab):
    with ab.arena():
        arguments = (ab, "x", ab.a + ab.b)
        setattr(*arguments)
    alias = arguments[2]
    if address(alias) == address(ab.x):
        # The tuple has it still: it may look, and its memory is not reused.
        with pytest.raises(ValueError):
            alias[0, 0] = 1
        expected = alias.copy()
        del ab.x
        ab.y = np.zeros((N, N))
        assert (alias == expected).all()


def test_what_has_a_name_is_copied(ab):
    with ab.arena():
        b = ab.a + ab.b
        assert get_handler_name(b) == "pymm_arena"
        ab.x = b
        view = (ab.a * 2)[:]  # what it is a view of is unique, the view's base is not
        ab.y = view
        ab["z"] = held = ab.a * 3
    assert address(b) != address(ab.x) and (b == ab.x).all()
    assert address(view) != address(ab.y) and address(held) != address(ab.z)
    b[0, 0] = -1
    assert ab.x[0, 0] != -1
    b.fill(7)
    assert not (ab.x == 7).any()


def test_what_has_a_weak_reference_is_copied(ab):
    kept = []

    def noted(array):
        kept.append((weakref.ref(array), address(array)))
        return array

    with ab.arena():
        ab.x = noted(ab.a + ab.b)
    assert address(ab.x) != kept[0][1] and kept[0][0]() is None


def test_views_and_odd_layouts_are_copied_right(ab):
    with ab.arena():
        ab.t = (ab.a + ab.b).T
        ab.s = (ab.a + ab.b)[::2, ::3]
        ab.f = np.asfortranarray(ab.a + 1)
        ab.three = np.transpose(np.ones((20, 30, 40)) * 3, (1, 0, 2)) + np.arange(40)
        ab.structured = np.ones(1000, [("a", "i4"), ("b", "f8")])
        ab.empty = np.empty((0, 5))
        ab.small = np.arange(5) * 2
        ab.zeros = np.zeros(100_000)
    total = ab.a + ab.b
    assert (ab.t == total.T).all() and (ab.s == total[::2, ::3]).all()
    assert (ab.f == ab.a + 1).all() and ab.f.flags.f_contiguous
    assert (ab.three == 3 + np.arange(40)).all() and ab.three.shape == (30, 20, 40)
    assert (ab.structured["b"] == 1).all() and ab.empty.shape == (0, 5)
    assert ab.small.tolist() == [0, 2, 4, 6, 8] and not ab.zeros.any()


def test_space_comes_back(ab):
    most = np.zeros(12 << 17)  # 12 of 16 MiB

    def all_is_free():
        gc.collect()
        ab.most = most
        del ab.most
        return True

    with ab.arena():
        for _ in range(50):
            (ab.a @ ab.b).sum()
    assert all_is_free()
    with ab.arena():
        kept = [ab.a + ab.b for _ in range(8)]
    with pytest.raises(pymm.NoSpaceError):
        ab.most = most
    assert all((array == kept[0]).all() for array in kept)
    del kept
    assert all_is_free()
    for _ in range(50):
        with ab.arena():
            ab.x = ab.a @ ab.b
    assert all_is_free()
    del ab.x
    before = used(ab)
    with ab.arena():
        ab.x = ab.a @ ab.b
    assert 0 < used(ab) - before < 2 * N * N * 8


def test_on_a_full_shelf_arrays_are_made_in_dram(shelf):
    shelf.a = np.ones(1 << 20)
    with shelf.arena():
        first = shelf.a + 1  # does not fit beside it
        assert get_handler_name(first) == "pymm_arena" and (first == 2).all()
        with pytest.raises(pymm.NoSpaceError):
            shelf.x = shelf.a + 2
        assert "x" not in shelf
        del first
        assert (shelf.a + 3)[7] == 4


def test_a_refused_assignment_changes_nothing(ab):
    ab.x = np.arange(10)
    ab.seal("x")
    before = used(ab)
    with ab.arena():
        with pytest.raises(pymm.ReadOnlyError):
            ab.x = ab.a + ab.b
        with pytest.raises(pymm.InvalidArgument):
            ab["../x"] = ab.a + ab.b
    assert ab.x.tolist() == list(range(10)) and used(ab) == before


def test_with_checksums(namespace):
    with pymm.shelf("sums", pmem_path=namespace, size_mb=16, checksum=True) as s:
        s.a = np.arange(1 << 16)
        where = Where()
        with s.arena():
            s.x = where(s.a * 2)
    with pymm.shelf("sums", pmem_path=namespace, mode="r") as s:
        assert (s.x == np.arange(1 << 16) * 2).all()
    assert pymm.fsck(namespace, "sums", scrub=True).clean


def test_another_shelfs_arena(ab, namespace):
    with pymm.shelf("other", pmem_path=namespace, size_mb=16) as other:
        with ab.arena():
            other.x = ab.a + ab.b
            with other.arena():
                other.y = ab.a + ab.b
                assert get_handler_name(np.empty(N * N)) == "pymm_arena"
            ab.x = ab.a + ab.b
        assert (other.x == ab.x).all() and (other.y == ab.x).all()
    assert get_handler_name(np.empty(N * N)) == "default_allocator"


def test_arrays_outlive_block_and_shelf(ab, reopen):
    with ab.arena():
        kept = ab.a + ab.b
    expected = kept.copy()
    ab.close()
    assert (kept == expected).all()
    kept += 1
    assert (kept == expected + 1).all()
    del kept
    assert (reopen(ab).a == reopen(ab).a).all()


def test_an_arena_is_entered_once(shelf):
    arena = shelf.arena()
    with pytest.raises(pymm.InvalidArgument):
        arena.__exit__(None, None, None)
    with arena:
        with pytest.raises(pymm.InvalidArgument):
            arena.__enter__()
    with pytest.raises(RuntimeError):
        with shelf.arena():
            raise RuntimeError
    assert get_handler_name(np.empty(N * N)) == "default_allocator"


def test_inside_transient_memory(ab, namespace):
    pymm.enable_transient_memory(backing_directory=namespace)
    try:
        with ab.arena():
            ab.x = ab.a + ab.b
        assert get_handler_name(ab.a + ab.b) == "pymm_transient"
    finally:
        pymm.disable_transient_memory()
    assert (ab.x == ab.a + ab.b).all()


def test_from_threads(ab):
    import threading

    failures = []

    def work(n):
        try:
            for i in range(30):
                with ab.arena():
                    ab[f"t{n}"] = ab.a + (n * 100 + i)
                    ab["shared"] = ab.a * 0 + n
                assert (ab[f"t{n}"] == ab.a + (n * 100 + i)).all()
                shared = ab.shared
                assert (shared == shared[0, 0]).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


PROGRAM = """
import sys
import numpy as np, pymm
s = pymm.shelf('test', pmem_path=sys.argv[1])
kept = []
with s.arena():
    for i in range(1, 1000000):
        kept = kept[-2:] + [s.a + i]
        s.x = s.a + i
        print(i, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7, 40])
def test_killed_in_an_arena(ab, namespace, after):
    """What was acknowledged is there, and everything else is free."""
    a = ab.a.copy()
    ab.x = ab.a + 0
    size = used(ab)
    ab.close()
    acknowledged = killed.acknowledged(PROGRAM, namespace, after)
    with pymm.shelf("test", pmem_path=namespace) as s:
        assert any((s.x == a + n).all() for n in (acknowledged, acknowledged + 1))
        assert abs(used(s) - size) < 1 << 20
    assert pymm.fsck(namespace, "test").clean
