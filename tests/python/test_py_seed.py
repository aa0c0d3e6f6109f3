"""What the seed promises, in its own words."""

import io
import os
import subprocess

import numpy as np
import pytest

import pymm


@pytest.fixture
def s(namespace):
    s = pymm.shelf("myShelf", size_mb=64, pmem_path=namespace, force_new=True)
    yield s
    s.close()


def test_two_files_are_the_shelf(s, namespace):
    assert sorted(os.listdir(namespace)) == ["myShelf.data", "myShelf.map"]
    listing = subprocess.run(["ls", "-sh", namespace], capture_output=True, text=True, check=True).stdout
    assert "myShelf.data" in listing and "myShelf.map" in listing


def test_deleting_the_files_erases_the_shelf(namespace):
    s = pymm.shelf("gone", size_mb=4, pmem_path=namespace)
    s.x = 1
    s.close()
    os.remove(os.path.join(namespace, "gone.data"))
    os.remove(os.path.join(namespace, "gone.map"))
    s = pymm.shelf("gone", size_mb=4, pmem_path=namespace)
    assert s.items == []
    s.close()


def test_normal_reopening(s, namespace):
    s.x = np.arange(5)
    s.close()
    s = pymm.shelf("myShelf", size_mb=1024, pmem_path=namespace)
    assert s.items == ["x"]
    assert isinstance(s.x, pymm.ndarray.shelved_ndarray)
    assert s.x.tolist() == [0, 1, 2, 3, 4]
    s.close()


def test_create_an_array_and_populate_it_in_place(s, tmp_path):
    s.x = pymm.ndarray((1000, 1000), dtype=np.int64)
    assert s.x.shape == (1000, 1000) and s.x.dtype == np.int64 and not s.x.any()
    s.x[1][1] = 9  # explicit slice assignment
    assert s.x[1, 1] == 9 and s.x.sum() == 9
    s.x.fill(3)  # in-place operation
    assert (s.x == 3).all()

    data = np.random.default_rng(1).integers(0, 1 << 60, size=(1000, 1000))
    data.tofile(tmp_path / "array.dat")
    # load data from file
    with open(tmp_path / "array.dat", "rb") as source:
        source.readinto(memoryview(s.x))
    assert (s.x == data).all()


def test_assigned_as_a_copy(s):
    values = np.random.randint(1, 100, size=(1000, 1000))
    s.y = values
    values[0, 0] = -1
    assert s.y[0, 0] != -1
    s.y = np.zeros(3)
    assert s.y.shape == (3,)


def test_memmap_is_streamed(s, tmp_path):
    source = np.memmap(tmp_path / "big.out", dtype="float32", mode="w+", shape=(1000, 100))
    source[:] = np.arange(100)
    source.flush()
    s.z = np.memmap(tmp_path / "big.out", dtype="float32", mode="r", shape=(1000, 100))
    assert type(s.z) is pymm.ndarray.shelved_ndarray
    assert (s.z == np.arange(100)).all()


def test_flush(s):
    s.x = pymm.ndarray(1000)
    s.x[100:110] = 1
    s.x.persist_offset(100, 10)
    s.x.persist()
    s.persist()


def test_erase_items_used_dir(s):
    s.x = 1
    s.y = np.zeros(1 << 17)
    used = s.used
    assert 1 < used < 50 and used == s.get_percent_used()
    assert s.items == ["x", "y"] == s.get_item_names()
    assert {"x", "y", "persist"} <= set(dir(s))
    s.erase("y")
    assert s.items == ["x"] and "y" not in dir(s)
    assert s.used < used
    with pytest.raises(AttributeError):
        s.y


def test_parameters_of_the_predecessor_are_accepted(namespace):
    s = pymm.shelf(
        "old",
        pmem_path=namespace,
        size_mb=4,
        load_addr="0x900000000",
        backend="hstore-cc",
        mm_plugin="/usr/lib/libmm-plugin-ccpm.so",
        force_new=True,
    )
    s.x = 1
    s.close()
    with pytest.raises(pymm.InvalidArgument):
        pymm.shelf("old", pmem_path=namespace, backend="redis")


def test_nothing_is_printed(s, capfd):
    s.x = pymm.ndarray((10, 10))
    s.x += 1
    s.y = "text"
    repr(s), str(s.x), s.items
    del s.y
    s.close()
    assert capfd.readouterr() == ("", "")


def test_readinto_of_a_view(s):
    s.x = pymm.ndarray((4, 4), dtype=np.uint8)
    io.BytesIO(bytes(range(4))).readinto(memoryview(s.x[2]))
    assert s.x[2].tolist() == [0, 1, 2, 3] and s.x.sum() == 6
