"""Bytes that nobody wrote so, in place of a variable's; and trees of them whose checksums are right."""

import struct

from hypothesis import strategies as st

from pymm import _pymm


class Bytes(bytes):
    """A block over bytes, however wrong they are."""

    name, kind, id, sequence = "x", 10, 1, 1

    @property
    def size(self):
        return len(self)

    def read(self, offset, size):
        assert 0 <= offset <= offset + size <= self.size  # nothing outside is ever asked for
        return bytes(self[offset : offset + size])

    def checksum(self, offset, size):
        return _pymm.checksum(self.read(offset, size))


def sealed(data):
    """The same with checksums that are right."""
    (meta,) = struct.unpack_from("<Q", data, 24)
    struct.pack_into("<I", data, 12, 0)
    struct.pack_into("<I", data, 12, _pymm.checksum(bytes(data[:48])))
    for k in range(-(-meta // 4096)):
        block = bytes(data[4096 * k : min(4096 * (k + 1), meta)])
        struct.pack_into("<I", data, meta + 4 * k, _pymm.checksum(block))
    return data


def with_other_words(data, tree):
    """The same tree with some words of its metadata replaced: hypothesis draws which, and by what."""
    (meta,) = struct.unpack_from("<Q", tree, 24)
    for _ in range(data.draw(st.integers(1, 4))):
        at = 8 * data.draw(st.integers(4, meta // 8 - 1))
        word = data.draw(st.one_of(
            st.integers(0, 2**64 - 1), st.integers(0, meta // 8).map(lambda n: 8 * n),
            st.tuples(st.integers(0, 20), st.integers(0, 300)).map(lambda p: p[1] << 8 | p[0]),
        ))  # fmt: skip
        struct.pack_into("<Q", tree, at, word)
    return tree
