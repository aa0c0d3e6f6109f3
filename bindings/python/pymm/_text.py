"""Many texts as three arrays: their UTF-8 one behind the other, where each begins, and which are missing. The first two
are as Arrow has them."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from ._objects import Missing, part

# What stands for no text.
NONE, NAN, NA = 1, 2, 3

_SMALL = (1 << 31) - 1  # bytes up to which offsets have 32 bits


def taken_apart(values: Any, missing: Optional[np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Of an array of str, and of other objects where `missing` is not 0."""
    texts = values.tolist() if missing is None else np.where(missing != 0, "", values).tolist()
    count = len(texts)
    whole = "".join(texts)
    if whole.isascii():
        data = whole.encode()
        sizes = np.fromiter(map(len, texts), np.int64, count)
    else:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        data = b"".join(encoded)
        sizes = np.fromiter(map(len, encoded), np.int64, count)
    offsets = np.zeros(count + 1, np.int32 if len(data) <= _SMALL else np.int64)
    np.cumsum(sizes, out=offsets[1:])
    parts: dict[str, Any] = {"offsets": offsets, "data": np.frombuffer(data, np.uint8)}
    if missing is not None and missing.any():
        parts["missing"] = missing
    return parts


def _checked(parts: dict[str, Any]) -> tuple[Any, Any, Any]:
    """Offsets, data and missing, once nothing in them leads outside."""
    arrays: list[Any] = []
    for key, dtypes in (("offsets", ("<i4", "<i8")), ("data", ("|u1",)), ("missing", ("|u1",))):
        if key == "missing" and key not in parts:
            arrays.append(None)
            continue
        array = part(parts, key, np.ndarray)
        if array.ndim != 1 or array.dtype.str not in dtypes or (array.size and not array.flags.c_contiguous):
            raise Missing(f"{key!r} is no such array")
        arrays.append(np.ndarray.view(array, np.ndarray))
    offsets, data, missing = arrays
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(data) or (offsets[1:] < offsets[:-1]).any():
        raise Missing("the offsets are not in order")
    if missing is not None and (len(missing) != len(offsets) - 1 or missing.max(initial=0) > NA):
        raise Missing("what is missing cannot be told")
    return offsets, data, missing


def objects(parts: dict[str, Any], absent: dict[int, Any]) -> Any:
    """An array of str; `absent` has the objects for what is missing, by code."""
    offsets, data, missing = _checked(parts)
    places = offsets.tolist()
    raw = data.tobytes()
    values = np.empty(len(places) - 1, object)
    if raw.isascii():
        whole = raw.decode("ascii")
        values[:] = [whole[a:b] for a, b in zip(places, places[1:])]
    else:
        values[:] = [raw[a:b].decode("utf-8", "surrogatepass") for a, b in zip(places, places[1:])]
    if missing is not None:
        for code, value in absent.items():
            values[missing == code] = value
    return values


def arrow_array(parts: dict[str, Any], dtype: Any) -> Any:
    """pandas' array of that dtype over the same bytes: nothing is decoded before somebody looks at it."""
    import pyarrow  # type: ignore[import-untyped, import-not-found, unused-ignore]

    offsets, data, missing = _checked(parts)
    validity = None
    if missing is not None:
        validity = pyarrow.py_buffer(np.packbits(missing == 0, bitorder="little"))
    text = pyarrow.large_string() if offsets.itemsize == 8 else pyarrow.string()
    buffers = [validity, pyarrow.py_buffer(offsets), pyarrow.py_buffer(data)]
    array = pyarrow.Array.from_buffers(text, len(offsets) - 1, buffers)
    array.validate(full=True)  # that it is UTF-8: others may trust in that
    return dtype.__from_arrow__(array)
