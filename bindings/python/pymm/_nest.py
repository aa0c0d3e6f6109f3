"""Writing trees: the bytes of a list, tuple or dict with all that is in it (docs/FORMAT.md, "Trees")."""

from __future__ import annotations

import struct
from collections import OrderedDict
from typing import Any, Union

import numpy as np

from . import _array, _containers, _dtype, _objects, _pymm, _tensor, _tree, _values
from ._constructors import Constructor

# From here on text and bytes lie behind the metadata, as arrays do, and are copied once.
_LARGE = 4096
# Beyond what the catalogue keeps inside itself, where nothing is aligned.
_OUTSIDE = 257
_MAX_ITEMS = 1 << 32
_PIECE = 1 << 20  # bytes that are written by themselves; less is put together
_REAL = struct.Struct("<Qd")  # the slot of a real

_TAGS: dict[type[Any], int] = {
    list: _tree.LIST,
    tuple: _tree.TUPLE,
    dict: _tree.DICT,
    OrderedDict: _tree.ORDERED,
}

# What a message says of other types. By type, so that subclasses come after what they are.
_ADVICE: tuple[tuple[type[Any], str], ...] = (
    (list, "it is a subclass of list; convert it: list(value)"),
    (tuple, "it is a subclass of tuple; convert it: tuple(value)"),
    (dict, "it is a subclass of dict; convert it: dict(value)"),
    (str, "it is a subclass of str; convert it: str(value)"),
    (bytes, "it is a subclass of bytes; convert it: bytes(value)"),
    (int, "it is a subclass of int; convert it: int(value)"),
    (float, "it is a subclass of float; convert it: float(value)"),
    (complex, "it is a subclass of complex; convert it: complex(value)"),
    (bytearray, "convert it: bytes(value), or numpy.frombuffer(value, numpy.uint8) for an array"),
    (memoryview, "convert it: bytes(value), or numpy.asarray(value) for an array"),
    (set, "convert it: list(value)"),
    (frozenset, "convert it: tuple(value)"),
    (range, "convert it: list(value), or numpy.arange(...) for an array"),
    (_array.ndarray, "in a container it would be zeros for ever; give it a variable of its own"),
)


def advice(value: Any) -> str:
    """What to do with a value of a type that cannot be stored."""
    text = _objects.advice(value)
    if text:
        return text
    if type(value).__name__ == "pickled" and type(value).__module__ == "pymm._pickled":
        return "give it a variable of its own"
    for cls, text in _ADVICE:
        if isinstance(value, cls):
            return text
    if isinstance(value, _tensor.torch_tensor):
        return "give it a variable of its own, or put a tensor here"
    if hasattr(type(value), "__dlpack__"):
        return "assign pymm.dlpack_array(value) to a variable of its own"
    return (
        "list, tuple, dict, arrays, tensors, numbers, str, bytes, bool and None can be stored; outside of containers "
        "objects with a buffer, too"
    )


def type_name(value: Any) -> str:
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def is_plain(value: Any) -> bool:
    """Whether it is one of Python's own containers that a tree holds."""
    return type(value) in _TAGS


def is_container(value: Any) -> bool:
    """Whether a tree holds it."""
    return (
        type(value) in _TAGS or isinstance(value, _containers.ShelvedContainer) or _objects.is_object(value)
    )


def check_array(value: np.ndarray[Any, Any]) -> None:
    """A masked array's mask, a matrix's product: what a subclass adds would be lost in silence."""
    if type(value) is not np.ndarray and not isinstance(value, (np.memmap, _array.shelved_ndarray)):
        raise TypeError(
            f"{type(value).__module__}.{type(value).__qualname__} is not supported: assign "
            "numpy.asarray(value) to store its plain elements"
        )


class _Refused(Exception):
    """Something in a nest cannot be stored; `path` leads to it, from the inside."""

    def __init__(self, cls: type[Exception], text: str) -> None:
        self.cls = cls
        self.text = text
        self.path: list[str] = []


def _shown(key: Any) -> str:
    text = repr(key)
    return f"[{text if len(text) <= 60 else text[:57] + '...'}]"


class Plan:
    """A tree that is about to be written. Its metadata is complete; arrays and long texts are where they were, and
    are copied to the shelf by write(), once."""

    __slots__ = ("size", "_meta", "_later", "_tail", "_moved", "_around")

    def __init__(self, name: str, value: Any, inside: bool = False) -> None:
        """`inside`: the tree is a list with the value in it, of which messages say nothing. TypeError for what
        cannot be stored, ValueError for what contains itself or is too deep."""
        self._meta = bytearray(_tree.HEADER.size)
        self._later: list[tuple[int, Any]] = []  # place behind the metadata, what is to be there
        self._tail = 0  # bytes behind the metadata
        self._moved: list[int] = []  # places in the metadata that hold a place behind it
        self._around: set[int] = set()  # ids of the containers around
        try:
            if inside:
                offset = self._reserve(_tree.SLOT.size)
                self._slot(_tree.ROOT, _tree.LIST, 1, offset)
                self._put(offset, value, 1)
            else:
                self._put(_tree.ROOT, value, 0)
        except _Refused as refused:
            place = (name if name.isidentifier() else repr(name)) + "".join(reversed(refused.path))
            raise refused.cls(f"{place}: {refused.text}") from None
        self._meta += bytes(-len(self._meta) % 8)
        self.size = self._base()
        if self._later:
            self.size = max(self.size + self._tail, _OUTSIDE)

    def _table(self) -> int:
        """Bytes of the checksums."""
        return 4 * -(-len(self._meta) // _tree.BLOCK)

    def _base(self) -> int:
        """Where what comes behind the metadata starts."""
        end = len(self._meta) + self._table()
        return end + -end % _tree.ALIGN if self._later else end

    # --- metadata -------------------------------------------------------------------------------------

    def _reserve(self, size: int) -> int:
        meta = self._meta
        at = len(meta) + -len(meta) % 8
        meta.extend(bytes(at - len(meta) + size))
        return at

    def _behind(self, item: Any, size: int) -> int:
        at = self._tail + -self._tail % _tree.ALIGN
        self._tail = at + size
        self._later.append((at, item))
        return at

    def _slot(self, at: int, tag: int, size: int, value: int) -> None:
        _tree.SLOT.pack_into(self._meta, at, size << 8 | tag, value)

    def _put(self, at: int, value: Any, depth: int) -> None:
        """Fills the slot at `at`."""
        cls = type(value)
        if cls is int:
            # As below, for what there are most of.
            size = value.bit_length() // 8 + 1
            if size <= 8:
                _tree.SLOT.pack_into(self._meta, at, size << 8 | _values.INTEGER, value & (1 << 8 * size) - 1)
                return
        elif cls is float:
            _REAL.pack_into(self._meta, at, 8 << 8 | _values.REAL, value)
            return
        elif cls is str:
            self._data(at, _values.STRING, _values.text(value), value)
            return
        if isinstance(value, _containers.Nested):
            # Read with a budget: what is damaged there ends here.
            value = value._nest()
        tag = _TAGS.get(type(value))
        if tag is not None:
            self._container(at, tag, value, depth)
        elif isinstance(value, np.ndarray):
            self._array(at, value)
        elif isinstance(value, _tensor.Elements):
            self._described(
                at, _tensor.KIND, value.text.encode(), value.itemsize, value.shape, value.strides, value, len(value.memory)
            )
        elif _tensor.is_tensor(value):
            self._tensor(at, value)
        elif isinstance(value, _objects.Parts):
            self._object(at, value, depth)
        elif _objects.is_object(value):
            try:
                parts = _objects.taken_apart(value)
            except TypeError as error:
                raise _Refused(TypeError, str(error)) from None
            self._object(at, parts, depth)
        else:
            self._leaf(at, value)

    def _object(self, at: int, value: _objects.Parts, depth: int) -> None:
        if depth >= _tree.MAX_DEPTH:
            raise _Refused(ValueError, f"more than {_tree.MAX_DEPTH} containers within each other cannot be stored")
        offset = self._reserve(2 * _tree.SLOT.size)
        self._slot(at, _tree.OBJECT, 2, offset)
        self._data(offset, _values.STRING, _values.text(value.name), value.name)
        self._container(offset + _tree.SLOT.size, _tree.DICT, value.parts, depth + 1)

    def _container(self, at: int, tag: int, value: Any, depth: int) -> None:
        if depth >= _tree.MAX_DEPTH:
            raise _Refused(ValueError, f"more than {_tree.MAX_DEPTH} containers within each other cannot be stored")
        if id(value) in self._around:
            raise _Refused(ValueError, f"a {type_name(value)} that contains itself cannot be stored")
        self._around.add(id(value))
        if tag >= _tree.DICT:
            self._dict(at, tag, value, depth)
        else:
            elements = tuple(value)  # as it is now: another thread may change it
            offset = self._reserve(len(elements) * _tree.SLOT.size)
            self._slot(at, tag, len(elements), offset if elements else 0)
            self._elements(offset, elements, depth)
        self._around.remove(id(value))

    def _elements(self, place: int, elements: tuple[Any, ...], depth: int) -> None:
        for number, element in enumerate(elements):
            try:
                self._put(place, element, depth + 1)
            except _Refused as refused:
                refused.path.append(f"[{number}]")
                raise
            place += _tree.SLOT.size

    def _dict(self, at: int, tag: int, value: dict[Any, Any], depth: int) -> None:
        count = len(value)
        if count >= _MAX_ITEMS:
            raise _Refused(ValueError, f"a dict of {count} items is too large")
        offset = place = self._reserve(count * _tree.DICT_ITEM)
        self._slot(at, tag, count, offset if count else 0)
        index = np.empty(count, "<u8")
        number = 0
        for key, element in value.items():
            if number == count:
                raise RuntimeError("dictionary changed size during iteration")
            canonical = self._key(place, key, depth + 1)
            index[number] = _pymm.checksum(canonical) << 32 | number
            try:
                self._put(place + _tree.SLOT.size, element, depth + 1)
            except _Refused as refused:
                refused.path.append(_shown(key))
                raise
            place += _tree.ITEM.size
            number += 1
        if number != count:
            raise RuntimeError("dictionary changed size during iteration")
        index.sort()
        self._meta[place : place + 8 * count] = index.tobytes()

    def _key(self, at: int, key: Any, depth: int) -> bytes:
        """Fills the slot of a key; gives what its hash is made of."""
        if type(key) is str:
            data = _values.text(key)
            self._data(at, _values.STRING, data, key)
            return b"\2" + data
        self._key_slot(at, key, key, depth)
        canonical = _tree.key_bytes(key)
        assert canonical is not None
        return canonical

    def _key_slot(self, at: int, key: Any, whole: Any, depth: int) -> None:
        if isinstance(key, _containers.shelved_tuple):
            key = key._nest()
        if type(key) is not tuple:
            if isinstance(key, (np.str_, np.bytes_)) and key[-1:] in ("\0", b"\0"):
                # It comes back without them, as another key.
                what = f"key {_shown(whole)[1:-1]}: NumPy drops NULs at the end of its texts"
                raise _Refused(ValueError, f"{what}: give a plain str or bytes")
            if isinstance(key, (np.void, Constructor)) or not self._try_leaf(at, key):
                what = f"key {_shown(whole)[1:-1]}: {type_name(key)}"
                raise _Refused(TypeError, f"{what} is not supported as a key: numbers, str, bytes, None and tuples are")
            return
        if depth >= _tree.MAX_DEPTH:
            raise _Refused(ValueError, f"more than {_tree.MAX_DEPTH} containers within each other cannot be stored")
        offset = self._reserve(len(key) * _tree.SLOT.size)
        self._slot(at, _tree.TUPLE, len(key), offset if key else 0)
        for element in key:
            self._key_slot(offset, element, whole, depth + 1)
            offset += _tree.SLOT.size

    def _leaf(self, at: int, value: Any) -> None:
        if not self._try_leaf(at, value.value if isinstance(value, Constructor) else value):
            raise _Refused(TypeError, f"{type_name(value)} is not supported: {advice(value)}")

    def _try_leaf(self, at: int, value: Any) -> bool:
        try:
            encoded = _values.encode(value)
        except _dtype.UnsupportedDtype as error:
            raise _Refused(type(error), str(error)) from None
        if encoded is None:
            return False
        kind, data, dtype, itemsize = encoded
        size = len(data)
        if kind == _values.SCALAR:
            text = dtype.encode()
            node = self._reserve(_tree.ARRAY.size + len(text) + size)
            behind = node + _tree.ARRAY.size + len(text)
            self._meta[node:behind] = _tree.ARRAY.pack(behind, size, kind, 0, len(text), itemsize) + text
            self._meta[behind : behind + size] = data
            self._slot(at, kind, behind - node, node)
        else:
            self._data(at, kind, data, value)
        return True

    def _data(self, at: int, kind: int, data: bytes, value: Any) -> None:
        size = len(data)
        if size <= 8:
            self._slot(at, kind, size, int.from_bytes(data, "little"))
        elif size < _LARGE:
            self._slot(at, kind, size, len(self._meta))
            self._meta += data
        else:
            # Text is encoded again when its turn comes: not all of it at once.
            self._slot(at, kind, size, self._behind(value if kind == _values.STRING else data, size))
            self._moved.append(at + 8)

    def _array(self, at: int, value: np.ndarray[Any, Any]) -> None:
        try:
            check_array(value)
            text = _dtype.encode(value.dtype).encode()
        except TypeError as error:
            raise _Refused(type(error), str(error)) from None
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        itemsize = value.dtype.itemsize
        strides = _array._strides(value.shape, itemsize, order)
        self._described(at, _values.NDARRAY, text, itemsize, value.shape, strides, value, value.nbytes)

    def _tensor(self, at: int, value: Any) -> None:
        try:
            found = _tensor.elements(value)
        except TypeError as error:
            raise _Refused(type(error), str(error)) from None
        size = len(found.memory)
        self._described(at, _tensor.KIND, found.text.encode(), found.itemsize, found.shape, found.strides, found, size)

    def _described(
        self, at: int, kind: int, text: bytes, itemsize: int, shape: Any, strides: Any, item: Any, size: int
    ) -> None:
        """An array or tensor: its slot, its description and, behind the metadata, its elements."""
        dimensions = len(shape)
        description = (
            struct.pack("<BBHI", kind, dimensions, len(text), itemsize)
            + struct.pack(f"<{2 * dimensions}q", *shape, *strides)
            + text
        )
        node = self._reserve(16 + len(description))
        offset = 0
        if size:
            offset = self._behind(item, size)
            self._moved.append(node)
        self._meta[node : node + 16] = struct.pack("<QQ", offset, size)
        self._meta[node + 16 : node + 16 + len(description)] = description
        self._slot(at, kind, 16 + len(description), node)

    # --- the bytes ------------------------------------------------------------------------------------

    def write(self, stage: _pymm.Stage) -> None:
        """Fills the stage, which has `size` bytes. May be called again, for another one."""
        meta, base, end = self._meta, self._base(), len(self._meta)
        for place in self._moved:
            (offset,) = struct.unpack_from("<Q", meta, place)
            struct.pack_into("<Q", meta, place, offset + base)
        self._moved = []
        root = _tree.SLOT.unpack_from(meta, _tree.ROOT)
        header = (_tree.MAGIC, _tree.VERSION, 0, self.size, len(meta), *root)
        _tree.HEADER.pack_into(meta, 0, *header)
        checksum = _pymm.checksum(bytes(meta[: _tree.HEADER.size]))
        _tree.HEADER.pack_into(meta, 0, *header[:2], checksum, *header[3:])
        view = memoryview(meta)
        blocks = range(0, len(meta), _tree.BLOCK)
        table = b"".join([struct.pack("<I", _pymm.checksum(view[at : at + _tree.BLOCK])) for at in blocks])
        del view  # or `meta` could not grow

        try:
            out = _Writer(stage, meta)  # puts more behind it
            out.small(end, table)
            for offset, item in self._later:
                out.item(base + offset, item)
            out.finish(self.size)
        finally:
            del meta[end:]


class _Writer:
    """Writes from front to back: what is large from where it lies, what is small together."""

    __slots__ = ("_stage", "_pending", "_at")

    def __init__(self, stage: _pymm.Stage, start: bytearray) -> None:
        self._stage = stage
        self._pending = start
        self._at = 0  # where `_pending` goes

    def _flush(self, at: int) -> None:
        if self._pending:
            self._stage.write(self._at, self._pending)
            self._pending = bytearray()
        self._at = at

    def small(self, at: int, data: Any) -> None:
        self._pending += bytes(at - self._at - len(self._pending))  # zeros in between
        self._pending += data
        if len(self._pending) >= _PIECE:
            self._flush(self._at + len(self._pending))

    def _large(self, at: int, data: Any, size: int) -> None:
        self.small(at, b"")
        self._flush(at + size)
        self._stage.write(at, data)

    def finish(self, size: int) -> None:
        self.small(size, b"")
        self._flush(size)

    def item(self, at: int, item: Union[np.ndarray[Any, Any], _tensor.Elements, str, bytes]) -> None:
        if isinstance(item, _tensor.Elements):
            data: Any = np.frombuffer(item.memory, np.uint8)
            size = data.nbytes
        elif not isinstance(item, np.ndarray):
            data = item if isinstance(item, bytes) else _values.text(item)
            size = len(data)
        else:
            plain = np.ndarray.view(item, np.ndarray)
            size = plain.nbytes
            if not (plain.flags.c_contiguous or plain.flags.f_contiguous):
                if size >= _PIECE:
                    self._strided(at, plain)
                    return
                whole = np.zeros(plain.shape, plain.dtype)  # with what pads a structure
                np.copyto(whole, plain, casting="no")
                plain = whole
            data = plain.ravel("K").view(np.uint8)
        if size >= _PIECE:
            self._large(at, data, size)
        else:
            self.small(at, memoryview(data))

    def _strided(self, at: int, plain: np.ndarray[Any, Any]) -> None:
        """Straight into the shelf's memory, with no copy in between."""
        self.small(at, b"")
        self._flush(at + plain.nbytes)
        memory = self._stage.memory()[at : at + plain.nbytes]
        if plain.dtype.names is not None:
            np.frombuffer(memory, np.uint8)[:] = 0  # NumPy leaves padding as it is there
        np.copyto(np.ndarray(plain.shape, plain.dtype, memory), plain, casting="no")


def snapshot(name: str, value: Any) -> Any:
    """The object with copies of all in it that can change. TypeError and ValueError as of Plan."""
    Plan(name, value)
    return _snapshot(value)


def _snapshot(value: Any) -> Any:
    cls = type(value)
    if cls in (list, tuple):
        return cls([_snapshot(element) for element in value])
    if cls in (dict, OrderedDict):
        return cls((key, _snapshot(element)) for key, element in value.items())
    # Parts of containers on shelves never change; whoever holds them keeps them.
    if isinstance(value, _containers.Nested) and not isinstance(value, _containers.ShelvedContainer):
        return value._nest()
    return copied(value)


def copied(value: Any) -> Any:
    """An array or tensor as a plain one of its own; other values as they are."""
    if isinstance(value, np.ndarray):
        return np.array(value, subok=False)
    if _objects.is_object(value):
        return _objects.copied(value)
    return _tensor.copied(value) if _tensor.is_tensor(value) else value
