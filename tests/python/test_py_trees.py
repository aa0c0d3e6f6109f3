"""Trees that are damaged or forged: the right value or CorruptError, and never more than they have."""

import struct

import numpy as np
import pytest
from forged import Bytes, sealed, with_other_words
from hypothesis import given
from hypothesis import strategies as st
from test_py_containers import SLOW, bytes_of, same, same_element

import pymm
from pymm import _containers, _tree


def read_all(block):
    """Everything there is to see of a tree."""
    x = _containers.from_block(block)
    plain = x.plain()
    return plain, [same_element(x[k], plain[k]) for k in (plain if isinstance(plain, dict) else range(len(plain)))]


def refused(data):
    try:
        read_all(Bytes(data))
    except (pymm.CorruptError, pymm.VersionError):
        return True
    return False


VALUE = [1, {"a": [2.5, "longer than eight"], (1, "b"): None}, b"bytes", 10**30, (np.float32(1),)]


def test_every_flipped_byte_is_noticed(shelf):
    shelf.x = VALUE
    sound = bytes_of(shelf, "x")
    assert same(read_all(Bytes(sound))[0], VALUE)
    for at in range(len(sound)):
        for flip in (1, 0x80, 0xFF):
            data = bytearray(sound)
            data[at] ^= flip
            assert refused(data), at
    for size in range(len(sound)):
        assert refused(sound[:size])


def test_every_flipped_byte_on_the_media(namespace):
    """In the file itself: the right value or CorruptError, whatever is changed. The elements of arrays have no
    checksum of their own, as elsewhere."""
    value = [*VALUE, "x" * 300, np.arange(4)]
    with pymm.shelf("flip", pmem_path=namespace, size_mb=16) as s:
        s.x = value
        entry = s._state.handle.entries()[0]
        offset, size = entry["offset"], entry["size"]
        elements = s.x[-1].addr - s._state.handle.get("x").address
    with open(f"{namespace}/flip.data", "r+b") as f:
        for at in range(0, size):
            f.seek(offset + at)
            (before,) = f.read(1)
            f.seek(offset + at)
            f.write(bytes((before ^ 0x55,)))
            f.flush()
            with pymm.shelf("flip", pmem_path=namespace, mode="r") as s:
                try:
                    got = s.x.plain()
                except (pymm.CorruptError, pymm.VersionError):
                    pass
                else:
                    if at >= elements:
                        got, wanted = got[:-1], value[:-1]
                    else:
                        wanted = value
                    assert same(got, wanted), at
            f.seek(offset + at)
            f.write(bytes((before,)))


@given(st.data())
@SLOW
def test_forged_bytes_under_right_checksums(shelf, data):
    """A hostile tree: an answer or CorruptError, and nothing outside is read."""
    if "x" not in shelf:
        shelf.x = [*VALUE, {i: [i] for i in range(5)}, "x" * 5000, np.arange(6).reshape(2, 3), np.zeros(3, "i2,f4")]
    forged = bytes_of(shelf, "x")
    try:
        plain, _ = read_all(Bytes(sealed(with_other_words(data, forged))))
        repr(plain)
    except pymm.CorruptError:
        pass


def slots(*words, tag=16, count=None):
    """A tree whose root has the slots given, as (tag, size, value)."""
    data = bytearray(48)
    data += b"".join(struct.pack("<QQ", size << 8 | t, value) for t, size, value in words)
    meta = len(data)
    count = len(words) if count is None else count
    table = bytes(4 * -(-meta // 4096))
    _tree.HEADER.pack_into(data, 0, b"PYMMTREE", 1, 0, meta + len(table), meta, count << 8 | tag, 48)
    return sealed(data + table)


def test_hostile_trees():
    assert read_all(Bytes(slots((4, 1, 5), (2, 1, ord("a")))))[0] == [5, "a"]
    for tag in (0, 10, 15, 20, 255):
        assert refused(slots((tag, 0, 0)))
    for tag in (1, 2, 3, 4, 9, 16, 17, 18, 19):
        for size in (9, 17, 4096, (1 << 56) - 1):
            for value in (0, 32, 48, 64, 80, 1000, 2**63, 2**64 - 8):
                assert refused(slots((4, 1, 1), (tag, size, value))), (tag, size, value)
    assert not refused(slots(*[(4, 1, 5)] * 100)) and not refused(slots(*[(5, 8, 5)] * 100))
    for wrong in ((4, 0, 0), (4, 1, 0x100), (4, 7, 1 << 63), (4, 9, 48), (5, 7, 0), (4, (1 << 56) - 1, 0)):
        for many in ((4, 1, 5), (5, 8, 5)):
            assert refused(slots(*[many] * 99, wrong)) and refused(slots(wrong, *[many] * 99))
    assert refused(slots((7, 1, 2))) and refused(slots((2, 1, 0x4141))) and refused(slots((2, 2, 0xFFFF)))
    assert refused(slots((5, 4, 0))) and refused(slots((8, 1, 0))) and refused(slots((4, 0, 0)))
    assert refused(slots((4, 1, 1), count=2)) and refused(slots((4, 1, 1), count=(1 << 56) - 1))
    assert refused(slots((4, 1, 1), tag=2)) and refused(slots((4, 1, 1), tag=18))
    assert refused(slots((16, 0, 0), (4, 1, 1), tag=18, count=1)[:-4])


def test_hostile_arrays(shelf):
    shelf.x = [np.arange(6).reshape(2, 3)]
    sound = bytes_of(shelf, "x")
    assert read_all(Bytes(sound))[0][0].tolist() == [[0, 1, 2], [3, 4, 5]]
    (node,) = struct.unpack_from("<Q", sound, 48 + 8)
    (offset, size), most = struct.unpack_from("<QQ", sound, node), 2**63 - 1

    def forged(at, *words, code="q"):
        data = bytearray(sound)
        struct.pack_into(f"<{len(words)}{code}", data, node + at, *words)
        return sealed(data)

    assert not refused(forged(0, offset, size))
    for wrong in (0, 48, 64, offset + 1, offset + 8, offset + 64, len(sound), most - 63, 2**64 - 64):
        assert refused(forged(0, wrong, code="Q")), wrong
    for wrong in (0, 8, size - 1, size + 8, most):
        assert refused(forged(8, wrong)), wrong
    for shape in ((2, 4), (-2, -3), (most, most), (2**62, 4), (0, 3), (2**32, 2**32)):
        assert refused(forged(24, *shape)), shape
    for strides in ((24, 16), (-24, 8), (most, 8), (48, 8), (24, most)):
        assert refused(forged(40, *strides)), strides
    assert not refused(forged(40, 8, 16))  # in Fortran's order
    for dtype in (b"|O8", b"<f4", b"<i9", b"\xff\xff\xff", b"(((", b"|V8", b"|S8"):
        assert refused(forged(56, *dtype, code="B")) == (dtype not in (b"|V8", b"|S8")), dtype
    for at, wrong in ((16, 9), (16, 0), (17, 1), (17, 65), (17, 255), (18, 2), (18, 255), (20, 4), (20, 0)):
        assert refused(forged(at, wrong, code="B")), (at, wrong)


def test_parts_used_many_times_do_not_make_it_endless():
    # Each list holds the next one ten times: 10**90 elements.
    words = []
    for depth in range(90):
        words += [(16, 10, 48 + 160 * (depth + 1))] * 10
    words += [(4, 1, 1)] * 10
    block = Bytes(slots(*words, count=10))
    x = _containers.from_block(block)
    assert len(x[0][9][5]) == 10
    for everything in (x.plain, lambda: x == [[]] * 10, lambda: repr(x), lambda: 1 in x, lambda: x < [], x._nest):
        with pytest.raises(pymm.CorruptError, match="several times"):
            everything()
    # The same half of the tree as text, again and again.
    texts = [(3, 1600, 48 + 16 * 100)] * 100 + [(4, 1, 1)] * 100
    with pytest.raises(pymm.CorruptError, match="several times"):
        _containers.from_block(Bytes(slots(*texts, count=100))).plain()


def test_too_deep_on_the_media():
    words = [(16, 1, 48 + 16 * (i + 1)) for i in range(100)] + [(4, 1, 1)]
    x = _containers.from_block(Bytes(slots(*words, count=1)))
    with pytest.raises(pymm.CorruptError, match="within each other"):
        x.plain()
    with pytest.raises(pymm.CorruptError, match="within each other"):
        for _ in range(200):
            x = x[0]


def test_a_newer_version_is_refused(shelf):
    data = bytes_of(shelf, "x") if "x" in shelf else slots((4, 1, 5))
    struct.pack_into("<I", data, 8, 2)
    with pytest.raises(pymm.VersionError):
        _containers.from_block(Bytes(sealed(data)))
