"""Putting Python values on a shelf, directly or as part of a batch."""

from __future__ import annotations

from typing import Any, Union

import numpy as np

from . import _dtype, _pymm, _values
from ._array import ndarray, shelved_ndarray
from ._constructors import Constructor
from ._errors import InvalidArgument

Target = Union[_pymm.Handle, _pymm.Batch]

# shelf.supported_types(). Those of IBM's PyMM first, and as it named them.
SUPPORTED = (
    "pymm.ndarray",
    "pymm.string",
    "pymm.float_number",
    "pymm.integer_number",
    "pymm.bytes",
    "numpy.ndarray",
    "numpy.memmap",
    "numpy.generic",
    "str",
    "bytes",
    "int",
    "float",
    "complex",
    "bool",
    "None",
)

_ADVICE: dict[type[Any], str] = {
    bytearray: "convert it: bytes(value), or numpy.frombuffer(value, numpy.uint8) for an array",
    memoryview: "convert it: bytes(value), or numpy.asarray(value) for an array",
    list: "convert it: numpy.array(value)",
    tuple: "convert it: numpy.array(value)",
}


def check_name(name: Any) -> str:
    """Names are str and can be written as UTF-8; the library checks the rest."""
    if not isinstance(name, str):
        raise TypeError(f"names of variables are str, not {type(name).__name__}")
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"name {name!r} cannot be stored: {error.reason}") from None
    return name


def store(target: Target, handle: _pymm.Handle, name: str, value: Any) -> None:
    """Puts `value` under `name`. Whatever it raises, nothing has changed."""
    if isinstance(value, np.ndarray):
        _store_array(target, handle, name, value)
    elif isinstance(value, ndarray):
        dtype = value.dtype
        stage = handle.stage(_dtype.encode(dtype), dtype.itemsize, value.shape, value.order == "F", True)
        target.put_stage(name, stage)
    else:
        encoded = _values.encode(value.value if isinstance(value, Constructor) else value)
        if encoded is None:
            raise _unsupported(name, value)
        kind, data, dtype_text, itemsize = encoded
        target.put_value(name, data, kind, dtype_text, itemsize)


def _store_array(target: Target, handle: _pymm.Handle, name: str, value: np.ndarray[Any, Any]) -> None:
    if type(value) is not np.ndarray and not isinstance(value, (np.memmap, shelved_ndarray)):
        # A masked array's mask, a matrix's product: what the subclass adds would be lost in silence.
        raise TypeError(
            f"{name!r}: {type(value).__module__}.{type(value).__qualname__} is not supported: assign "
            "numpy.asarray(value) to store its plain elements"
        )
    dtype = value.dtype
    text = _dtype.encode(dtype)
    flags = value.flags
    if flags.c_contiguous:
        target.put_array(name, value, text, False)
    elif flags.f_contiguous:
        target.put_array(name, value, text, True)
    else:
        # Straight into the shelf's memory, with no copy in between. NumPy leaves padding as it is there.
        stage = handle.stage(text, dtype.itemsize, value.shape, False, dtype.names is not None)
        np.copyto(np.ndarray(value.shape, dtype, stage.memory()), value, casting="no")
        target.put_stage(name, stage)


def _unsupported(name: str, value: Any) -> TypeError:
    cls = type(value)
    for base in (str, bytes, int, float, complex):
        if isinstance(value, base):
            advice = f"it is a subclass of {base.__name__}; convert it: {base.__name__}(value)"
            break
    else:
        advice = _ADVICE.get(cls, "arrays, numbers, str, bytes, bool and None can be stored")
    return TypeError(f"{name!r}: {cls.__module__}.{cls.__qualname__} is not supported: {advice}")
