"""`load_addr`: shelves that are mapped at an address of the caller's choice."""

import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

import pymm


@pytest.fixture
def free():
    """An address with room behind it, that a shelf would not get by itself."""
    with mmap.mmap(-1, 64 << 20) as room:
        start = np.frombuffer(room, np.uint8).__array_interface__["data"][0]
    return -(-start // (2 << 20)) * (2 << 20) + 3 * 4096


def base(s):
    """Where the shelf is mapped: addresses of arrays count from there."""
    (entry,) = s._state.handle.entries("x")
    return s.x.addr - entry["offset"]


@pytest.mark.parametrize("form", [int, hex, str])
def test_it_is_mapped_there(namespace, reopen, free, form):
    with pymm.shelf("a", pmem_path=namespace, size_mb=4, load_addr=form(free)) as s:
        s.x = np.arange(1000)
        assert base(s) == free
        there = s.x.addr
    del s  # a closed shelf keeps its place while its object lives
    for mode in ("a", "r"):
        with pymm.shelf("a", pmem_path=namespace, load_addr=form(free), mode=mode) as s:
            assert s.x.addr == there and s.x[999] == 999
        del s


def test_a_volatile_shelf_too(free):
    with pymm.shelf("v", backend="mapstore", size_mb=4, load_addr=free) as s:
        s.x = np.arange(1000)
        assert base(s) == free


def test_two_processes_see_the_same_address(namespace, child):
    code = """
        import sys, numpy as np, pymm
        s = pymm.shelf("a", pmem_path=sys.argv[1], size_mb=4, load_addr="0x900000000", mode=sys.argv[2])
        if sys.argv[2] == "a":
            s.x = np.arange(1000)
        print(hex(s.x.addr), flush=True)
        input()
    """
    writer = child(code, namespace, "a")
    address = writer.line()
    reader = child(code, namespace, "r")
    assert reader.line() == address
    assert 0x900000000 < int(address, 0) < 0x900000000 + (4 << 20)
    for one in (reader, writer):
        one.tell()
        one.finish()


def test_an_occupied_address_is_no_error(namespace, free):
    s = pymm.shelf("a", pmem_path=namespace, size_mb=4, load_addr=free)
    s.x = np.arange(1000)
    other = pymm.shelf("b", pmem_path=namespace, size_mb=4, load_addr=free)
    other.x = np.arange(2000)
    assert base(s) == free != base(other)
    # A shelf that is open stays where it is.
    assert pymm.shelf("a", pmem_path=namespace, load_addr=free + (32 << 20)) is s
    assert base(s) == free
    assert s.x[999] == 999 and other.x[1999] == 1999
    s.close(), other.close()


def test_it_is_logged_when_asked_for(namespace):
    code = """if True:
        import sys, pymm
        s = pymm.shelf("a", pmem_path=sys.argv[1], size_mb=4, load_addr="0x900000000")
        t = pymm.shelf("b", pmem_path=sys.argv[1], size_mb=4, load_addr="0x900000000")
        s = pymm.shelf("a", pmem_path=sys.argv[1], size_mb=4, load_addr="0x100000000")
    """
    for debug, said in (("1", True), ("", False)):
        environment = dict(os.environ, PYMM_DEBUG=debug)
        done = subprocess.run(
            [sys.executable, "-c", code, namespace], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout == ""
        assert ("b.data" in done.stderr and "occupied" in done.stderr and "0x900000000" in done.stderr) is said
        assert ("stays at address" in done.stderr) is said


@pytest.mark.parametrize(
    "bad",
    [
        "somewhere",
        "",
        "0x",
        "900000000x",
        1,
        True,
        "0x900000001",
        0x900000800,
        -4096,
        "-0x1000",
        1 << 47,
        (1 << 47) - 8192,
        "0xfffffffffffff000",
        1 << 64,
        1 << 100,
    ],
)
def test_what_can_be_no_address(namespace, bad):
    with pytest.raises(ValueError, match="address|no number") as caught:
        pymm.shelf("a", pmem_path=namespace, size_mb=4, load_addr=bad)
    assert isinstance(caught.value, pymm.InvalidArgument)
    assert os.listdir(namespace) == []


@pytest.mark.parametrize("bad", [1.5, b"0x900000000", [1]])
def test_what_is_no_number(namespace, bad):
    with pytest.raises(TypeError, match="load_addr"):
        pymm.shelf("a", pmem_path=namespace, size_mb=4, load_addr=bad)


@pytest.mark.parametrize("anywhere", [None, 0, "0"])
def test_no_wish(namespace, anywhere):
    with pymm.shelf("a", pmem_path=namespace, size_mb=4, load_addr=anywhere) as s:
        s.x = 1
