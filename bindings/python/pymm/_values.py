"""Values that are not arrays: numbers, text, bytes, NumPy scalars.

They come back as subclasses of their types: equal, with the same hash and operators, and with the name
of the variable. Results of operators are plain. They cannot change in place, so `s.n += 1` computes a
new value and assigns it, durably, as any assignment. `bool`, `None` and NumPy types that cannot be
subclassed come back plain.
"""

from __future__ import annotations

import struct
import weakref
from functools import lru_cache
from typing import Any, Callable, Optional

import numpy as np

from . import _dtype, _pymm
from ._errors import CorruptError

# pymm::Kind (lib/include/pymm/type.hpp)
RAW, NDARRAY, STRING, BYTES, INTEGER, REAL, COMPLEX, BOOLEAN, NONE, SCALAR, TREE = range(11)


class ShelvedValue:
    """What shelved values have beyond their plain types."""

    __slots__ = ()

    # Attributes of their own, not slots: int and bytes have no room for slots.
    _name: str
    # The shelf's Python object, and which version of the variable this is: id and sequence.
    _origin: tuple[weakref.ref[Any], int, int]

    @property
    def name(self) -> str:
        """Name of the variable."""
        return self._name

    def persist(self) -> None:
        """Nothing to do: a value is durable since it was assigned."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Copies and pickles are of the plain type, and need no pymm to be read.
        plain: Any = self._plain()
        return plain.__reduce_ex__(protocol) if isinstance(plain, np.generic) else (type(plain), _args(plain))

    def __copy__(self) -> Any:
        return self._plain()

    def __deepcopy__(self, memo: Any) -> Any:
        return self._plain()

    def _plain(self) -> Any:
        raise NotImplementedError


def _args(plain: Any) -> tuple[Any, ...]:
    return (plain.real, plain.imag) if isinstance(plain, complex) else (plain,)


# Each _plain() calls the base's own operations: those of subclasses return the plain type.


class shelved_string(ShelvedValue, str):
    """A `str` on a shelf."""

    encoding = "utf-8"
    """What the shelf holds it in, whatever encoding it was made with."""

    def _plain(self) -> str:
        return str.__str__(self)[:]


class shelved_bytes(ShelvedValue, bytes):
    """A `bytes` on a shelf."""

    def _plain(self) -> bytes:
        return bytes.__getitem__(self, slice(None))


class shelved_integer_number(ShelvedValue, int):
    """An `int` on a shelf, of any size."""

    def _plain(self) -> int:
        return int.__int__(self)


class shelved_float_number(ShelvedValue, float):
    """A `float` on a shelf."""

    def _plain(self) -> float:
        return float.__float__(self)


class shelved_complex(ShelvedValue, complex):
    """A `complex` on a shelf."""

    def _plain(self) -> complex:
        return complex(self.real, self.imag)


def _plain_numpy(self: Any) -> Any:
    # An array of the exact dtype, since a subclass's own may have lost byte order or unit.
    return np.array(self, dtype=self._dtype)[()]


@lru_cache(maxsize=None)
def _scalar_class(base: type[Any]) -> Optional[type[Any]]:
    """The shelved subclass of a NumPy scalar type, or None where there can be none."""
    members = {
        "__module__": "pymm",
        "__doc__": f"A `numpy.{base.__name__}` on a shelf.",
        # Some of NumPy's own name the class.
        "__repr__": lambda self: repr(self._plain()),
        "__reduce_ex__": ShelvedValue.__reduce_ex__,
        "__copy__": ShelvedValue.__copy__,
        "__deepcopy__": ShelvedValue.__deepcopy__,
        "_plain": _plain_numpy,
    }
    try:
        # NumPy takes the second class of the resolution order for the scalar's type, and crashes on
        # any other: its own has to be the first base.
        return type(f"shelved_{base.__name__}", (base, ShelvedValue), members)
    except TypeError:
        return None


def _shelved_scalar(plain: Any, dtype: np.dtype[Any], name: str) -> Any:
    cls = None if dtype.kind in "bV" else _scalar_class(type(plain))  # type: ignore[arg-type, unused-ignore]
    if cls is None:
        return plain
    try:
        value = cls(plain)
        if type(value) is not cls or not (value == plain or value != value):
            return plain
        value._name = name
        value._dtype = dtype
    except (TypeError, ValueError, AttributeError):
        return plain
    return value


def integer(value: int) -> bytes:
    # One bit more than the magnitude, for the sign.
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _complex(value: complex) -> bytes:
    return struct.pack("<dd", value.real, value.imag)


# By exact type: of a subclass, something would be lost.
_ENCODERS: dict[type[Any], tuple[int, Callable[[Any], bytes]]] = {
    str: (STRING, text),
    shelved_string: (STRING, text),
    bytes: (BYTES, lambda value: value),
    shelved_bytes: (BYTES, lambda value: value),
    bool: (BOOLEAN, lambda value: b"\1" if value else b"\0"),
    int: (INTEGER, integer),
    shelved_integer_number: (INTEGER, integer),
    float: (REAL, struct.Struct("<d").pack),
    shelved_float_number: (REAL, struct.Struct("<d").pack),
    complex: (COMPLEX, _complex),
    shelved_complex: (COMPLEX, _complex),
    type(None): (NONE, lambda value: b""),
}


def encode(value: Any) -> Optional[tuple[int, bytes, str, int]]:
    """(kind, bytes, dtype, itemsize) of a value that is stored by value, or None for other objects."""
    found = _ENCODERS.get(type(value))
    if found is not None:
        return found[0], found[1](value), "", 1
    if isinstance(value, np.generic):
        if isinstance(value, ShelvedValue):
            value = value._plain()
        array = np.asarray(value)
        return SCALAR, array.tobytes(), _dtype.encode(array.dtype), array.dtype.itemsize
    return None


def _named(cls: Any, plain: Any, name: str) -> Any:
    value = cls(plain)
    value._name = name
    return value


def set_origin(value: Any, shelf: Any, block: _pymm.Block) -> None:
    """Notes in a shelved value which shelf gave it, for erase(). Others are left as they are."""
    if isinstance(value, ShelvedValue):
        anything: Any = value
        anything._origin = (weakref.ref(shelf), block.id, block.sequence)


def _scalar(block: _pymm.Block, data: memoryview) -> Any:
    dtype = _dtype.decode(block.dtype, block.itemsize)
    if dtype.itemsize == 0:
        return np.zeros((), dtype)[()]
    # A copy: a void scalar would otherwise look into the block.
    plain = np.frombuffer(bytes(data), dtype=dtype)[0]
    return _shelved_scalar(plain, dtype, block.name)


_DECODERS: dict[int, Callable[[_pymm.Block, memoryview], Any]] = {
    STRING: lambda b, data: _named(shelved_string, str(data, "utf-8", "surrogatepass"), b.name),
    BYTES: lambda b, data: _named(shelved_bytes, bytes(data), b.name),
    INTEGER: lambda b, data: _named(shelved_integer_number, int.from_bytes(data, "little", signed=True), b.name),
    REAL: lambda b, data: _named(shelved_float_number, struct.unpack("<d", data)[0], b.name),
    COMPLEX: lambda b, data: _named(shelved_complex, complex(*struct.unpack("<dd", data)), b.name),
    BOOLEAN: lambda b, data: bool(data[0]),
    NONE: lambda b, data: None,
    SCALAR: _scalar,
}


def decode(block: _pymm.Block) -> Any:
    """The value of a block of any kind but arrays and raw bytes."""
    decoder = _DECODERS.get(block.kind)
    if decoder is None:
        raise CorruptError(f"variable {block.name!r} is of kind {block.kind}, which this version does not know")
    try:
        # Type checkers learn of buffers without a Python-level method in Python 3.12.
        return decoder(block, memoryview(block))  # type: ignore[arg-type, unused-ignore]
    except (ValueError, struct.error, IndexError) as error:
        raise CorruptError(f"variable {block.name!r} cannot be read: {error}") from error
