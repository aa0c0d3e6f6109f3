"""Reading trees: the blobs that hold lists, tuples and dicts, with all that is in them.

The bytes are described in docs/FORMAT.md, "Trees". Nothing is decoded ahead: opening reads a header of 48 bytes, and an
element is found by its number, an item of a dict by the hash of its key. What is read was checked: its place by its
numbers, its metadata by their checksums, a block of 4,096 bytes at a time.
"""

from __future__ import annotations

import bisect
import math
import numbers
import struct
from collections import OrderedDict
from typing import Any, Callable, Iterator, Optional

import numpy as np

from . import _array, _dtype, _objects, _pymm, _tensor, _values
from ._errors import CorruptError, VersionError

MAGIC = b"PYMMTREE"
VERSION = 1
BLOCK = 4096  # bytes of metadata that one checksum covers
ALIGN = 64  # of what lies behind the metadata
MAX_DEPTH = 100  # containers within each other
MAX_DESCRIPTION = 16 + 65536

# Tags of slots, besides the kinds of blobs.
LIST, TUPLE, DICT, ORDERED, OBJECT = 16, 17, 18, 19, 20

HEADER = struct.Struct("<8sIIQQQQ")  # magic, version, checksum, bytes, end of the metadata, root
ROOT = 32  # where the root's slot is
SLOT = struct.Struct("<QQ")  # tag and, above it, size; value or offset
ITEM = struct.Struct("<QQQQ")  # slots of key and value
ARRAY = struct.Struct("<QQBBHI")  # offset and bytes of the elements, then the type descriptor
SAFETENSORS = "safetensors"  # name of the object that is a dict of tensors with what a file says of it
DICT_ITEM = ITEM.size + 8  # with its word in the index
_CHUNK = 1024  # slots that are read at once
_MANY = 64  # slots from which on it pays to look at all together

# What makes the object for a container, by tag; _containers says so.
classes: dict[int, Callable[[Tree, int, int, int], Any]] = {}
# Those that are keys as tuples are.
tuples: list[type[Any]] = []


def _none(data: bytes) -> None:
    if data:
        raise ValueError("None has no bytes")


def _boolean(data: bytes) -> bool:
    if data not in (b"\0", b"\1"):
        raise ValueError("a boolean is 0 or 1")
    return data == b"\1"


def _integer(data: bytes) -> int:
    if not data:
        raise ValueError("an integer has at least 1 byte")
    return int.from_bytes(data, "little", signed=True)


_LEAVES: dict[int, Callable[[bytes], Any]] = {
    _values.STRING: lambda data: str(data, "utf-8", "surrogatepass"),
    _values.BYTES: lambda data: data,
    _values.INTEGER: _integer,
    _values.REAL: lambda data: struct.unpack("<d", data)[0],
    _values.COMPLEX: lambda data: complex(*struct.unpack("<dd", data)),
    _values.BOOLEAN: _boolean,
    _values.NONE: _none,
}


def _numbers(data: bytes) -> Optional[list[Any]]:
    """The values of slots that are all reals, or all integers of up to 8 bytes: many at once. None for others."""
    words = np.frombuffer(data, "<u8")
    heads, values = words[::2], words[1::2]
    first = int(heads[0])  # NumPy before 2 has no bitwise operators for one of its unsigned and one of Python's integers
    if first == 8 << 8 | _values.REAL:
        return values.view("<f8").tolist() if (heads == first).all() else None
    if first & 0xFF != _values.INTEGER or (heads & 0xFF != _values.INTEGER).any():
        return None
    sizes = heads >> 8
    if (sizes == 0).any() or (sizes > 8).any():
        return None
    shift = 64 - 8 * sizes
    high = values << shift
    if (high >> shift != values).any():  # what is beyond its size is damage: let value() say so
        return None
    numbers: list[Any] = (high.view("<i8") >> shift.view("<i8")).tolist()
    return numbers


class Budget:
    """What one look at all of a tree may read: each slot is part of one container and each byte of one value, so
    a tree whose parts are used several times, and which could be endless, is none of ours."""

    __slots__ = ("_tree", "_slots", "_bytes", "parts")

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._slots = tree.meta // SLOT.size
        self._bytes = tree.size
        self.parts = 0  # objects that are being read: what is in them is a part, and no object for users yet

    def take(self, tag: int, size: int, offset: int) -> None:
        if tag >= LIST:
            self._slots -= size * 2 if tag in (DICT, ORDERED) else size
        elif size > 8:
            self._bytes -= size
        if self._slots < 0 or self._bytes < 0:
            raise self._tree.corrupt(offset, "parts of it are used several times")


class Tree:
    """The bytes of one tree. Keeps their memory valid while it lives."""

    __slots__ = ("block", "base", "is_whole", "name", "size", "meta", "data", "root", "raw", "whole", "_sound", "_private")

    def __init__(self, block: _pymm.Block, base: int = 0, size: Optional[int] = None) -> None:
        """`base`, `size`: of a tree that is a part of a blob, there. Places count from the tree's first byte."""
        self.block = block
        self.base = base
        self.is_whole = size is None
        self.name = block.name
        self.size = block.size if size is None else size
        self.meta = 0
        if self.size < HEADER.size:
            raise self.corrupt(0, "there is no room for a header")
        header = block.read(base, HEADER.size)
        magic, version, checksum, told, meta, head, value = HEADER.unpack(header)
        if magic != MAGIC:
            raise self.corrupt(0, "it does not start as a tree does")
        if version != VERSION:
            raise VersionError(
                f"variable {self.name!r}: its tree has version {version}, this program knows version {VERSION}: "
                "use a newer one"
            )
        if _pymm.checksum(header[:12] + bytes(4) + header[16:]) != checksum:
            raise self.corrupt(0, "the header's checksum is wrong")
        end = meta + 4 * -(-meta // BLOCK)
        if told != self.size or meta % 8 or not HEADER.size <= meta <= end <= told:
            raise self.corrupt(16, f"{self.size} bytes with metadata up to {meta} cannot be")
        self.meta = meta
        self.data = end  # where what is no metadata may begin
        self.root = (head, value)
        self.raw = False  # whether a tensor is to be told as what is stored of it
        self.whole = 0  # the container that is the variable's value, where the root is around it
        self._private: Any = None  # memory that tensors may store to
        self._sound: set[int] = set()  # blocks whose checksum was right

    def corrupt(self, at: int, what: str) -> CorruptError:
        return CorruptError(
            f"variable {self.name!r}: its tree is damaged at byte {at}: {what}; restore it from a copy, or erase it"
        )

    def read(self, offset: int, size: int) -> bytes:
        """Metadata, once their checksums were found right."""
        end = offset + size
        if offset < HEADER.size or end > self.meta:
            raise self.corrupt(offset, f"{size} bytes are not all metadata")
        if size:
            for number in range(offset // BLOCK, (end - 1) // BLOCK + 1):
                if number not in self._sound:
                    self._verify(number)
        return self.block.read(self.base + offset, size)

    def _verify(self, number: int) -> None:
        start = number * BLOCK
        (checksum,) = struct.unpack("<I", self.block.read(self.base + self.meta + 4 * number, 4))
        if self.block.checksum(self.base + start, min(BLOCK, self.meta - start)) != checksum:
            raise self.corrupt(start, "the checksum is wrong")
        self._sound.add(number)

    # --- values -----------------------------------------------------------------------------------

    def value(self, at: int, head: int, value: int, depth: int) -> Any:
        """What the slot at `at` holds: a plain value, an array or container that looks into the tree. `depth`: the
        containers around it."""
        tag, size = head & 0xFF, head >> 8
        leaf = _LEAVES.get(tag)
        if leaf is not None:
            if size > 8:
                data = self._far(at, value, size)
            elif value >> 8 * size:
                raise self.corrupt(at, "there is more than its size")
            else:
                data = value.to_bytes(8, "little")[:size]
            try:
                return leaf(data)
            except (ValueError, struct.error) as error:
                raise self.corrupt(at, f"this is no value of kind {tag}: {error}") from None
        if tag in (_values.NDARRAY, _values.SCALAR, _tensor.KIND):
            return self._elements(at, tag, value, size)
        self.check_container(at, head, value, depth)
        if tag == OBJECT:
            return self.opened(at, head, value, depth)
        return classes[tag](self, value, size, depth)

    def opened(self, at: int, head: int, value: int, depth: int, copy: bool = False, parts: bool = False) -> Any:
        """The object of another package whose slot is at `at`, and was checked; or its parts."""
        budget = Budget(self)
        budget.take(OBJECT, head >> 8, at)
        if parts:
            budget.parts += 1
        elif not copy and self._is_dict_of_tensors(value, depth):
            return self._tensors(value, depth)
        return self._object(at, value, depth, copy, budget)

    def _is_dict_of_tensors(self, offset: int, depth: int) -> bool:
        head, value = self.slot(offset)
        return head & 0xFF == _values.STRING and self.value(offset, head, value, depth + 1) == SAFETENSORS

    def _tensors(self, offset: int, depth: int) -> Any:
        """The dict in what came from a safetensors file. As other dicts, its items are read when they are looked at."""
        at = offset + SLOT.size
        head, value = self.slot(at)
        if head & 0xFF == DICT:
            self.check_container(at, head, value, depth + 1)
            number = self.find(value, head >> 8, depth + 1, "tensors")
            if number is not None:
                at = value + number * ITEM.size + SLOT.size
                head, value = self.slot(at)
                if head & 0xFF == DICT:
                    self.check_container(at, head, value, depth + 2)
                    if not depth:
                        self.whole = value
                    return classes[DICT](self, value, head >> 8, depth + 2)
        raise self.corrupt(offset, "an object without tensors")

    def _object(self, at: int, offset: int, depth: int, copy: bool, budget: Budget) -> Any:
        kind, parts = (slot for slot in self.slots(offset, 0, 2))
        if kind[1] & 0xFF != _values.STRING or parts[1] & 0xFF != DICT:
            raise self.corrupt(at, "an object without a name and parts")
        budget.parts += 1
        name, found = (self._nested(*slot, depth + 1, copy, budget) for slot in (kind, parts))
        budget.parts -= 1
        whole = _objects.Parts(name, found)
        if name == SAFETENSORS and not budget.parts:
            if type(found.get("tensors")) is not dict:
                raise self.corrupt(at, "an object without tensors")
            return found["tensors"]
        return whole if budget.parts else _objects.make(self.name, whole)

    def check_container(self, at: int, head: int, offset: int, depth: int) -> None:
        """Whether the slot can be that of a container: all of its slots are metadata, and behind it."""
        tag, count = head & 0xFF, head >> 8
        if not LIST <= tag <= OBJECT or (tag == OBJECT and count != 2):
            raise self.corrupt(at, f"tag {tag} is unknown")
        if depth >= MAX_DEPTH:
            raise self.corrupt(at, f"more than {MAX_DEPTH} containers within each other")
        size = count * (DICT_ITEM if tag in (DICT, ORDERED) else SLOT.size)
        # What is behind cannot lead back.
        if count and (offset <= at or offset % 8 or offset + size > self.meta):
            raise self.corrupt(at, f"{count} elements at {offset} cannot be")

    def _far(self, at: int, offset: int, size: int) -> bytes:
        if offset <= at:
            raise self.corrupt(at, "its data is in front of it")
        if offset + size <= self.meta:
            return self.read(offset, size)
        if not self.data <= offset <= offset + size <= self.size:
            raise self.corrupt(at, f"{size} bytes at {offset} cannot be")
        return self.block.read(self.base + offset, size)

    def _elements(self, at: int, tag: int, place: int, size: int) -> Any:
        if place <= at or not ARRAY.size <= size <= MAX_DESCRIPTION:
            raise self.corrupt(at, "an array without a description")
        node = self.read(place, size)
        offset, nbytes, kind, dimensions, dtype_size, itemsize = ARRAY.unpack_from(node)
        strides_at = ARRAY.size + 8 * dimensions
        text_at = strides_at + 8 * dimensions
        if kind != tag or dimensions > 64 or size != text_at + dtype_size or (dimensions and tag == _values.SCALAR):
            raise self.corrupt(place, "there is no type of this kind")
        shape: tuple[int, ...] = struct.unpack_from(f"<{dimensions}q", node, ARRAY.size)
        strides: tuple[int, ...] = struct.unpack_from(f"<{dimensions}q", node, strides_at)
        try:
            text = str(node[text_at:], "utf-8")
        except UnicodeDecodeError as error:
            raise self.corrupt(place, f"the dtype's text: {error}") from None
        dtype = np.dtype(np.void) if tag == _tensor.KIND else _dtype.decode(text, itemsize)
        if min(shape, default=0) < 0 or min(strides, default=0) < 0:
            raise self.corrupt(place, f"shape {shape} and strides {strides}")
        product = math.prod(shape) * itemsize
        reach = itemsize + sum([(n - 1) * step for n, step in zip(shape, strides)])
        if product != nbytes or (product and reach > nbytes):
            raise self.corrupt(place, f"{nbytes} bytes are no array of shape {shape} with strides {strides}")
        if tag == _values.SCALAR:
            if not nbytes:
                return np.zeros((), dtype)[()]
            return np.frombuffer(self.read(offset, nbytes), dtype)[0]
        if nbytes and (offset % ALIGN or not self.data <= offset <= offset + nbytes <= self.size):
            raise self.corrupt(place, f"{nbytes} bytes of elements at {offset} cannot be")
        if tag == _tensor.KIND:
            return self._tensor(place, text, itemsize, shape, strides, offset, nbytes)
        memory: Any = self.block
        try:
            if not nbytes:  # no byte is ever touched: offset and strides say nothing
                return _array.shelved_ndarray(shape, dtype, memory)
            return _array.shelved_ndarray(shape, dtype, memory, self.base + offset, strides)
        except (ValueError, TypeError, OverflowError) as error:
            raise self.corrupt(
                place, f"shape {shape} and dtype {dtype} cannot be shown by this NumPy ({np.__version__}): {error}"
            ) from error

    def _tensor(
        self, place: int, text: str, itemsize: int, shape: Any, strides: Any, offset: int, nbytes: int
    ) -> Any:
        memory: Any = b""
        if self.raw:
            block: Any = self.block
            memory = memoryview(block)[self.base + offset : self.base + offset + nbytes] if nbytes else b""
            return _tensor.Elements(text, itemsize, shape, strides, memory, block)
        if nbytes:
            # A tensor cannot be read-only.
            if self._private is None:
                self._private = memoryview(_pymm.private_memory(self.block))  # type: ignore[arg-type, unused-ignore]
            memory = self._private[self.base + offset : self.base + offset + nbytes]
        try:
            return _tensor.part(self.block, memory, text, itemsize, shape, strides)
        except (ValueError, TypeError, RuntimeError, OverflowError) as error:
            raise self.corrupt(
                place, f"a tensor of shape {shape} and elements {text[:80]!r} cannot be shown: {error}"
            ) from error

    # --- containers -------------------------------------------------------------------------------

    def slot(self, at: int) -> tuple[int, int]:
        head, value = SLOT.unpack(self.read(at, SLOT.size))
        return head, value

    def slots(self, offset: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """(place, head, value) of the slots `first` up to `last` of those at `offset`."""
        while first < last:
            count = min(_CHUNK, last - first)
            at = offset + first * SLOT.size
            for head, value in SLOT.iter_unpack(self.read(at, count * SLOT.size)):
                yield at, head, value
                at += SLOT.size
            first += count

    def chunks(self, offset: int, first: int, last: int) -> Iterator[tuple[int, bytes, Optional[list[Any]]]]:
        """(place, slots, values where they are all simple numbers) of the slots `first` up to `last`."""
        while first < last:
            count = min(_CHUNK, last - first)
            at = offset + first * SLOT.size
            data = self.read(at, count * SLOT.size)
            yield at, data, _numbers(data) if count >= _MANY else None
            first += count

    def nest(self, tag: int, offset: int, count: int, depth: int, copy: bool, budget: Optional[Budget] = None) -> Any:
        """A container that was checked, as plain Python containers; its arrays are copies, or look into the tree."""
        if budget is None:
            budget = Budget(self)
            budget.take(tag, count, offset)
        if tag in (DICT, ORDERED):
            result: Any = OrderedDict() if tag == ORDERED else {}
            slots = self.slots(offset, 0, 2 * count)
            for at, head, value in slots:
                key = self._key(at, head, value, depth + 1, budget)
                at, head, value = next(slots)
                result[key] = self._nested(at, head, value, depth + 1, copy, budget)
            return result
        elements: list[Any] = []
        for at, data, numbers in self.chunks(offset, 0, count):
            if numbers is None:
                for head, value in SLOT.iter_unpack(data):
                    elements.append(self._nested(at, head, value, depth + 1, copy, budget))
                    at += SLOT.size
            else:
                elements += numbers
        return tuple(elements) if tag == TUPLE else elements

    def _nested(self, at: int, head: int, value: int, depth: int, copy: bool, budget: Budget) -> Any:
        tag, size = head & 0xFF, head >> 8
        budget.take(tag, size, at)
        if tag >= LIST:
            self.check_container(at, head, value, depth)
            if tag == OBJECT:
                return self._object(at, value, depth, copy, budget)
            return self.nest(tag, value, size, depth, copy, budget)
        found = self.value(at, head, value, depth)
        if copy and tag == _values.NDARRAY:
            return found.copy("K")
        return _tensor.copied(found) if copy and tag == _tensor.KIND and not self.raw else found

    def key(self, at: int, head: int, value: int, depth: int) -> Any:
        """What the slot of a key holds."""
        if head & 0xFF in _LEAVES:
            return self.value(at, head, value, depth)
        return self._key(at, head, value, depth, Budget(self))

    def _key(self, at: int, head: int, value: int, depth: int, budget: Budget) -> Any:
        tag, size = head & 0xFF, head >> 8
        if tag in (LIST, DICT, ORDERED, OBJECT, _values.NDARRAY, _tensor.KIND):
            raise self.corrupt(at, "this cannot be a key")
        budget.take(tag, size, at)
        if tag != TUPLE:
            return self.value(at, head, value, depth)
        self.check_container(at, head, value, depth)
        return tuple([self._key(*slot, depth + 1, budget) for slot in self.slots(value, 0, size)])

    def find(self, offset: int, count: int, depth: int, key: Any) -> Optional[int]:
        """The number of the item with that key in the dict at `offset`; None when there is none. TypeError when
        nothing can have it as key."""
        canonical = key_bytes(key)
        if canonical is None or not count:
            return None
        digest = _pymm.checksum(canonical)
        index = offset + count * ITEM.size
        wanted = digest << 32
        # Hashes are evenly spread, so a good place to look is known; halving in turn bounds the rest.
        low, high, least, most, guess = 0, count, 0, 1 << 32, True
        while high - low > 64:
            middle = low + (high - low) // 2
            if guess and least <= digest < most:
                middle = min(max(low + (high - low) * (digest - least) // (most - least), low), high - 1)
            guess = not guess
            (word,) = struct.unpack("<Q", self.read(index + 8 * middle, 8))
            if word < wanted:
                low, least = middle + 1, word >> 32
            else:
                high, most = middle, word >> 32
        words = struct.unpack(f"<{high - low}Q", self.read(index + 8 * low, 8 * (high - low)))
        low += bisect.bisect_left(words, wanted)
        while low < count:
            (word,) = struct.unpack("<Q", self.read(index + 8 * low, 8))
            if word >> 32 != digest:
                break
            number: int = word & 0xFFFFFFFF
            if number >= count:
                raise self.corrupt(index + 8 * low, "the index names an item that there is not")
            at = offset + number * ITEM.size
            stored = self.key(at, *self.slot(at), depth + 1)
            if stored == key:
                return number
            low += 1
        return None


# --- keys ---------------------------------------------------------------------------------------------


def _number(key: Any) -> Optional[bytes]:
    """Equal numbers are equal keys, whatever their types."""
    real = not isinstance(key, numbers.Complex) or isinstance(key, numbers.Real)
    try:
        whole = int(key.real)
        if key == whole:
            return bytes((_values.INTEGER,)) + _values.integer(whole)
    except (ValueError, ArithmeticError):
        pass  # infinite, not a number
    try:
        parts = (float(key), 0.0) if real else (complex(key).real, complex(key).imag)
    except (ValueError, ArithmeticError):
        return None  # beyond what has a representation here
    if not parts[1]:
        return bytes((_values.REAL,)) + struct.pack("<d", parts[0])
    # -0.0 equals 0.0
    return bytes((_values.COMPLEX,)) + struct.pack("<dd", parts[0] + 0.0, parts[1] + 0.0)


def key_bytes(key: Any) -> Optional[bytes]:
    """What the hash of a key is made of: equal for equal keys. None for what no tree has as a key."""
    if isinstance(key, str):
        return bytes((_values.STRING,)) + key.encode("utf-8", "surrogatepass")
    if isinstance(key, int):
        return bytes((_values.INTEGER,)) + _values.integer(int(key))
    if key is None:
        return bytes((_values.NONE,))
    if isinstance(key, bytes):
        return bytes((_values.BYTES,)) + key
    if isinstance(key, (np.datetime64, np.timedelta64)):
        array = np.asarray(key)
        return bytes((_values.SCALAR,)) + _dtype.encode(array.dtype).encode() + array.tobytes()
    if isinstance(key, np.bool_):
        return bytes((_values.INTEGER,)) + _values.integer(int(key))
    if isinstance(key, (tuple, *tuples)):
        elements: Any = key
        parts = [bytes((TUPLE,))]
        for element in elements:
            part = key_bytes(element)
            if part is None:
                return None
            parts += (struct.pack("<Q", len(part)), part)
        return b"".join(parts)
    if isinstance(key, numbers.Number):
        return _number(key)
    hash(key)  # as a dict says it: unhashable
    return None
