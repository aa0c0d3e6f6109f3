"""NumPy dtypes as text, and back.

Simple types are NumPy's type strings (`<f8`, `<M8[us]`), structured ones the `descr` literal of the .npy
format. What .npy cannot say (fields that overlap or are out of order) is the literal of the dict that
`numpy.dtype` takes. Text read from a shelf is data from outside: it is parsed as a literal, never
evaluated, and must not name Python objects.
"""

from __future__ import annotations

import ast
import re
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from ._errors import CorruptError

_SIMPLE = re.compile(r"[<>|=]?[biufcmMSUV][0-9]*(\[[0-9A-Za-zμ]+\])?\Z")
_MAX_TEXT = 60_000
_MAX_DEPTH = 32


class UnsupportedDtype(TypeError):
    """A dtype that cannot be stored."""


@lru_cache(maxsize=256)
def encode(dtype: np.dtype[Any]) -> str:
    """Text for a dtype; UnsupportedDtype when it cannot be stored."""
    if dtype.hasobject:
        raise UnsupportedDtype(
            f"dtype {dtype} holds Python objects, which live in this process only; "
            "convert it to a type of fixed size, as with .astype('U20') or .astype(float)"
        )
    if dtype.names is None and dtype.subdtype is None:
        # Foreign types (bfloat16 ...) call themselves 'V2'; NumPy's own round trip tells.
        if dtype.kind in "biufcmMSUV" and issubclass(dtype.type, np.generic):
            text = dtype.str
            if _SIMPLE.match(text) and np.dtype(text) == dtype:
                return text
        raise UnsupportedDtype(f"dtype {dtype!r} cannot be stored: NumPy has no portable name for it")
    for describe in (_descr, _fields):
        try:
            with warnings.catch_warnings():
                # Metadata of a dtype is dropped, as in .npy files.
                warnings.simplefilter("ignore", UserWarning)
                text = repr(describe(dtype))
            if _parse(text) == dtype:
                if len(text) > _MAX_TEXT:
                    raise UnsupportedDtype(f"dtype with {len(dtype.names or ())} fields: too many to store")
                return text
        except UnsupportedDtype:
            raise
        except (ValueError, TypeError, KeyError, SyntaxError):
            continue
    raise UnsupportedDtype(f"dtype {dtype!r} cannot be stored")


def _descr(dtype: np.dtype[Any]) -> Any:
    return np.lib.format.dtype_to_descr(dtype)


def _fields(dtype: np.dtype[Any]) -> Any:
    """A dtype as the dict that numpy.dtype() takes: says everything, offsets too."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return (_fields(base), shape)
    if dtype.names is None:
        return encode(dtype)
    fields = dtype.fields
    assert fields is not None
    entries = [fields[name] for name in dtype.names]
    result: dict[str, Any] = {
        "names": list(dtype.names),
        "formats": [_fields(entry[0]) for entry in entries],
        "offsets": [int(entry[1]) for entry in entries],
        "itemsize": dtype.itemsize,
    }
    if any(len(entry) > 2 for entry in entries):
        result["titles"] = [entry[2] if len(entry) > 2 else None for entry in entries]
    return result


def _from_fields(descr: Any) -> np.dtype[Any]:
    if isinstance(descr, dict):
        if not set(descr) <= {"names", "formats", "offsets", "itemsize", "titles"}:
            raise ValueError("unknown keys")
        fields: Any = {**descr, "formats": [_from_fields(f) for f in descr["formats"]]}
        dtype: np.dtype[Any] = np.dtype(fields)
        return dtype
    if isinstance(descr, tuple):
        base, shape = descr
        return np.dtype((_from_fields(base), shape))
    if isinstance(descr, str):
        return _simple(descr)
    raise ValueError("not a dtype")


def _simple(text: str) -> np.dtype[Any]:
    if not _SIMPLE.match(text):
        raise ValueError(f"{text!r} is no dtype")
    return np.dtype(text)


def _check_depth(descr: Any, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(descr, (list, tuple)):
        for part in descr:
            _check_depth(part, depth + 1)
    elif isinstance(descr, dict):
        for part in descr.values():
            _check_depth(part, depth + 1)
    elif isinstance(descr, str):
        # Names and type codes alike; commas would make NumPy parse a list of types.
        return
    elif descr is not None and type(descr) is not int:
        raise ValueError("not a dtype")


def _parse(text: str) -> np.dtype[Any]:
    if text[:1] not in "[({":
        return _simple(text)
    descr = ast.literal_eval(text)
    _check_depth(descr)
    return _from_fields(descr) if isinstance(descr, dict) else np.lib.format.descr_to_dtype(descr)


@lru_cache(maxsize=256)
def decode(text: str, itemsize: int) -> np.dtype[Any]:
    """The dtype for a text from a shelf; CorruptError when it is none that could be stored."""
    try:
        if len(text) > 0xFFFF:
            raise ValueError("too long")
        dtype = _parse(text)
        if dtype.hasobject:
            raise ValueError("it names Python objects")
        if dtype.subdtype is not None:
            raise ValueError("a sub-array is no element")
        if dtype.itemsize != itemsize:
            raise ValueError(f"it has {dtype.itemsize} bytes, the catalogue says {itemsize}")
    except Exception as error:  # NumPy meets a text it never wrote: it may raise anything
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise CorruptError(f"dtype {shown!r} of a stored array is not valid: {error}") from None
    return dtype
