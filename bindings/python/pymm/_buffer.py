"""Objects with a buffer: `memoryview`, `bytearray`, `array.array`, ctypes arrays, `mmap` ..."""

from __future__ import annotations

import ctypes
from typing import Any, Optional

import numpy as np


def array_of(name: str, value: Any) -> Optional[np.ndarray[Any, Any]]:
    """The elements of an object with a buffer, as an array over the same memory; None for other objects. TypeError
    where its elements are none of NumPy's."""
    try:
        view = memoryview(value)
    except TypeError:
        return None
    try:
        array = _structures(value, view) if view.format[:2] == "T{" else np.asarray(view)
    except (ValueError, TypeError, NotImplementedError) as error:
        cls = type(value)
        raise TypeError(
            f"{name!r}: {cls.__module__}.{cls.__qualname__} with elements {view.format!r} is not supported: NumPy does "
            f"not know them ({error}); for the bytes say bytes(value), or numpy.frombuffer(value, numpy.uint8)"
        ) from error
    return array


def _structures(value: Any, view: memoryview) -> np.ndarray[Any, Any]:
    # What ctypes says of the padding at the end of a structure is wrong; NumPy would warn, and guess the same.
    element: Any = type(value)
    while issubclass(element, ctypes.Array):
        element = element._type_
    if not issubclass(element, ctypes.Structure):
        return np.asarray(view)
    memory: Any = view
    return np.ndarray(view.shape or (), np.dtype(element), memory)
