"""Arrays of NumPy's own in files: enable_transient_memory()."""

import contextvars
import gc
import os
import threading

import numpy as np
import pytest

import pymm

try:
    from numpy._core.multiarray import get_handler_name
except ImportError:  # NumPy 1
    from numpy.core.multiarray import get_handler_name

BIG = 1 << 20


@pytest.fixture(autouse=True)
def disabled_afterwards():
    yield
    pymm.disable_transient_memory()


def mapped_files(array):
    """Paths of the mappings that hold the array's first byte, as the kernel tells."""
    address = array.__array_interface__["data"][0]
    found = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            span, _, _, _, _, *path = line.split(maxsplit=5)
            first, last = (int(part, 16) for part in span.split("-"))
            if first <= address < last:
                found.append("".join(path).strip())
    return found


def in_file_of(array, directory):
    return any(path.startswith(os.path.realpath(directory)) for path in mapped_files(array))


def stored(directory):
    """Bytes of storage behind the unnamed files that this process has there."""
    total = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith(os.path.realpath(directory)):
                total += os.stat(f"/proc/self/fd/{fd}").st_blocks * 512
        except OSError:
            pass
    return total


def test_large_arrays_live_in_the_file(namespace):
    pymm.enable_transient_memory(pmem_file=f"{namespace}/swap", pmem_file_size_gb=1 / 64)
    a = np.arange(BIG, dtype=np.int8)
    small = np.arange(10)
    assert get_handler_name(a) == get_handler_name(small) == "pymm_transient"
    assert in_file_of(a, namespace) and not in_file_of(small, namespace)
    assert (a + a)[3] == 6 and in_file_of(a + a, namespace)
    # Nothing is to be seen, and nothing can be left behind.
    assert os.listdir(namespace) == []
    pymm.disable_transient_memory()
    b = np.ones(BIG)
    assert get_handler_name(b) != "pymm_transient" and not in_file_of(b, namespace)
    assert a[100] == 100
    assert BIG <= stored(namespace) < 2 * BIG
    # Small ones keep the allocator, but no storage.
    del a
    gc.collect()
    assert stored(namespace) < BIG // 8 and small[3] == 3


def test_zeros_are_zeros_in_memory_used_before(namespace):
    for place in ({"pmem_file": f"{namespace}/f", "pmem_file_size_gb": 1 / 256}, {"backing_directory": namespace}):
        pymm.enable_transient_memory(**place)
        for size in (BIG // 8, 3 * BIG):
            for _ in range(3):
                a = np.empty(size, np.uint8)
                a[:] = 255
                del a
                a = np.zeros(size, np.uint8)
                assert in_file_of(a, namespace) and not a.any()
                a[:] = 255
                del a


def test_a_full_file(namespace):
    pymm.enable_transient_memory(pmem_file=f"{namespace}/f", pmem_file_size_gb=4 / 1024)
    kept = [np.full(BIG, i, np.uint8) for i in range(4)]
    with pytest.raises(MemoryError):
        np.empty(BIG, np.uint8)
    assert [int(a[-1]) for a in kept] == [0, 1, 2, 3]
    # Neighbours that are given back join.
    del kept[1:3]
    joined = np.ones(2 * BIG, np.uint8)
    assert kept[0][0] == 0 and kept[1][0] == 3 and joined.sum() == 2 * BIG


def test_the_directory_takes_what_the_file_cannot(namespace, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    pymm.enable_transient_memory(
        pmem_file=f"{namespace}/f", pmem_file_size_gb=1 / 1024, backing_directory=str(other)
    )
    first, second = np.ones(BIG, np.uint8), np.ones(BIG, np.uint8)
    assert in_file_of(first, namespace) and in_file_of(second, other)
    before = stored(other)
    assert before >= BIG
    del second
    assert stored(other) <= before - BIG


def test_resizing_moves_between_the_two(namespace):
    pymm.enable_transient_memory(backing_directory=namespace)
    a = np.arange(BIG // 8)
    a.resize(BIG, refcheck=False)
    assert in_file_of(a, namespace) and a[100] == 100 and not a[BIG // 8 :].any()
    a.resize(100, refcheck=False)
    assert not in_file_of(a, namespace) and (a == np.arange(100)).all()
    a.resize(BIG, refcheck=False)
    assert (a[:100] == np.arange(100)).all() and not a[100:].any()


def test_put_on_a_shelf_and_calculated_with(shelf, namespace):
    pymm.enable_transient_memory(backing_directory=namespace)
    shelf.x = np.arange(BIG // 8)
    result = shelf.x * 2
    assert in_file_of(result, namespace)
    shelf.x = result
    assert (shelf.x == np.arange(BIG // 8) * 2).all()


def test_enabled_twice_and_disabled_twice(namespace):
    before = get_handler_name(np.empty(1))
    pymm.enable_transient_memory(backing_directory=namespace)
    first = np.arange(BIG)
    pymm.enable_transient_memory(pmem_file=f"{namespace}/f", pmem_file_size_gb=1 / 64)
    second = np.arange(BIG)
    pymm.disable_transient_memory()
    pymm.disable_transient_memory()
    assert get_handler_name(np.empty(1)) == before
    assert (first == second).all()


def test_threads_and_contexts(namespace):
    pymm.enable_transient_memory(backing_directory=namespace)
    names, arrays = [], []

    def work(n):
        names.append(get_handler_name(np.empty(BIG)))
        pymm.enable_transient_memory(backing_directory=namespace)
        for i in range(20):
            arrays.append(np.full(BIG // 4 + i * 4096, n, np.uint8))
            arrays.pop(0) if len(arrays) > 20 else None

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # An allocator is set for a context, and a thread begins with one of its own (Python 3.14 can be told otherwise).
    assert names[0] in ("default_allocator", "pymm_transient")
    assert all((a == a[0]).all() for a in arrays)
    del arrays[:]
    contextvars.Context().run(lambda: names.append(get_handler_name(np.empty(BIG))))
    assert names[-1] == "default_allocator"


def test_a_forked_child_has_its_own_copies(namespace):
    pymm.enable_transient_memory(backing_directory=namespace)
    a = np.arange(BIG)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            a[:] += 1
            b = np.ones(BIG)
            good = a[5] == 6 and not in_file_of(b, namespace)
            del a, b
            code = 0 if good else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (a == np.arange(BIG)).all()
    # What the child gave back is still taken here.
    b = np.zeros(BIG)
    assert (a == np.arange(BIG)).all() and not b.any()


def test_from_the_predecessors_module(namespace):
    pymm.pymmcore.enable_transient_memory(backing_directory=namespace)
    assert in_file_of(np.ones(BIG), namespace)
    pymm.pymmcore.disable_transient_memory()
    assert not in_file_of(np.ones(BIG), namespace)


def test_by_default_where_shelves_are(namespace, monkeypatch):
    monkeypatch.setenv("PYMM_PATH", namespace)
    pymm.enable_transient_memory()
    assert in_file_of(np.ones(BIG), namespace)


@pytest.mark.parametrize(
    "arguments, error",
    [
        ({"backing_directory": "{}/none"}, FileNotFoundError),
        ({"pmem_file": "{}/none/f", "pmem_file_size_gb": 1}, FileNotFoundError),
        ({"pmem_file": "{}/f"}, ValueError),
        ({"pmem_file": "{}/f", "pmem_file_size_gb": -1}, ValueError),
        ({"pmem_file": "{}/f", "pmem_file_size_gb": float("nan")}, ValueError),
        ({"pmem_file_size_gb": 1}, ValueError),
        ({"pmem_file": "{}/f", "pmem_file_size_gb": 1e-7}, ValueError),
        ({"pmem_file": 5, "pmem_file_size_gb": 1}, TypeError),
    ],
)
def test_what_cannot_be(namespace, arguments, error):
    given = {k: v.format(namespace) if isinstance(v, str) else v for k, v in arguments.items()}
    with pytest.raises(error):
        pymm.enable_transient_memory(**given)
    assert get_handler_name(np.empty(1)) == "default_allocator"
