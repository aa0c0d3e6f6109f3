"""The header of safetensors files: read as the hostile input that it may be, and written."""

from __future__ import annotations

import math
from typing import Any, Iterable, Iterator, NamedTuple, Optional

import numpy as np

from . import _array, _nest, _tensor
from ._errors import CorruptError

# As the format's own library has it.
MAX_HEADER = 100_000_000
_METADATA = "__metadata__"
_MAX_DIMENSIONS = 64
_MOST = 1 << 62

# The format's names of elements; what a tensor's dtype is on a shelf, and the bytes of one.
_DTYPES: dict[str, tuple[str, int]] = {
    "BOOL": ("|b1", 1),
    "U8": ("|u1", 1),
    "I8": ("|i1", 1),
    "U16": ("<u2", 2),
    "I16": ("<i2", 2),
    "F16": ("<f2", 2),
    "BF16": ("bfloat16", 2),
    "U32": ("<u4", 4),
    "I32": ("<i4", 4),
    "F32": ("<f4", 4),
    "U64": ("<u8", 8),
    "I64": ("<i8", 8),
    "F64": ("<f8", 8),
    "C64": ("<c8", 8),
    "F8_E4M3": ("float8_e4m3fn", 1),
    "F8_E5M2": ("float8_e5m2", 1),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1),
    "F8_E8M0": ("float8_e8m0fnu", 1),
}
_NAMES = {text: name for name, (text, _) in _DTYPES.items()}


class Entry(NamedTuple):
    """A tensor of a file; `begin` and `end` count from where the elements start."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Any, file: Any, size: int) -> tuple[list[Entry], dict[str, str], int]:
    """The tensors in the order of the file, all within it, none over another and nothing between them; the metadata; and
    where the elements start. CorruptError for all else."""
    import json  # those who have no such files need not wait for it

    def bad(what: str) -> CorruptError:
        return CorruptError(f"{path}: is no sound safetensors file: {what}: get or write it again")

    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise bad(f"a header of {length} bytes in a file of {size}")
    if length > MAX_HEADER:
        raise bad(f"a header of {length} bytes; {MAX_HEADER} are the most")
    raw = file.read(length)
    if len(raw) != length or raw[:1] != b"{":
        raise bad("the header is no JSON object")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise bad(f"the header is no JSON that it can be: {error}") from None

    metadata = header.pop(_METADATA, {})
    if not is_metadata(metadata):
        raise bad("its metadata are not texts by names")
    entries = []
    for name, described in header.items():
        entry = _entry(name, described)
        if entry is None:
            raise bad(f"tensor {name[:80]!r} is not described as it should be")
        entries.append(entry)
    at = 0
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    for entry in entries:
        if entry.begin != at:
            raise bad(f"tensor {entry.name[:80]!r} starts at {entry.begin}, where the one before ends at {at}")
        if entry.dtype in _DTYPES and math.prod(entry.shape) * _DTYPES[entry.dtype][1] != entry.end - entry.begin:
            raise bad(f"tensor {entry.name[:80]!r} has {entry.end - entry.begin} bytes for shape {list(entry.shape)}")
        at = entry.end
    if at != size - 8 - length:
        raise bad(f"{at} bytes of tensors in a file that has {size - 8 - length}")
    return entries, metadata, 8 + length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    for name in found:
        name.encode()  # ValueError for what is no text
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def is_metadata(value: Any) -> bool:
    return type(value) is dict and all(type(key) is str and type(text) is str for key, text in value.items())


def _entry(name: str, described: Any) -> Optional[Entry]:
    if type(described) is not dict or set(described) != {"dtype", "shape", "data_offsets"}:
        return None
    dtype, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if type(dtype) is not str or type(shape) is not list or type(offsets) is not list:
        return None
    if len(offsets) != 2 or len(shape) > _MAX_DIMENSIONS:
        return None
    if not all(type(number) is int and 0 <= number < _MOST for number in (*shape, *offsets)) or offsets[0] > offsets[1]:
        return None
    if math.prod(max(number, 1) for number in shape) >= _MOST >> 4:
        return None  # strides in bytes would be out of range, be there no element
    return Entry(name, dtype, tuple(shape), offsets[0], offsets[1])


def stored(dtype: str, variable: str, name: str, framework: str) -> tuple[str, int]:
    """The dtype of elements on a shelf, and their bytes. TypeError for those that have none."""
    found = _DTYPES.get(dtype)
    if found is None:
        raise TypeError(f"{variable}[{name[:80]!r}]: elements of type {dtype[:20]!r} cannot be stored")
    if framework == "np" and found[0][0] not in "<|":
        raise TypeError(f"{variable}[{name[:80]!r}]: NumPy has no elements of type {dtype}: load them with framework='pt'")
    return found


def _described(place: str, value: Any) -> tuple[str, tuple[int, ...], int, Any]:
    """The format's name of elements, their shape, the bytes of one, and a buffer of all in C's order."""
    if isinstance(value, _tensor.Elements):
        text, itemsize, shape = value.text.partition(" ")[0], value.itemsize, value.shape
        memory: Any = value.memory
        if text in _NAMES and tuple(value.strides) != tuple(_array._strides(shape, itemsize, "C")) and len(memory):
            plain = np.ndarray(shape, f"V{itemsize}", memory, 0, value.strides)
            memory = np.ascontiguousarray(plain).reshape(-1).view(np.uint8)
    elif isinstance(value, np.ndarray):
        array = np.ndarray.view(value, np.ndarray)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        text, itemsize, shape = array.dtype.str, array.dtype.itemsize, array.shape
        memory = np.ascontiguousarray(array).reshape(-1).view(np.uint8) if text in _NAMES else None
    else:
        raise TypeError(f"{place}: {_nest.type_name(value)} cannot be in a safetensors file: tensors and arrays can")
    if text not in _NAMES:
        raise TypeError(f"{place}: a safetensors file has no elements of type {text}")
    if _DTYPES[_NAMES[text]][1] != itemsize:
        raise CorruptError(f"{place}: elements of type {text} have no {itemsize} bytes: restore it from a copy, or erase it")
    return _NAMES[text], shape, itemsize, memory


def header(variable: str, items: Iterable[tuple[Any, Any]], metadata: Any) -> tuple[bytes, Iterator[Any]]:
    """What a file begins with, and the buffers that follow. TypeError for what it cannot hold."""
    import json

    if not is_metadata(metadata):
        raise TypeError("metadata of a safetensors file are a dict of str by str")
    found = []
    for name, value in items:
        place = f"{variable}[{name!r}]"
        if type(name) is not str or name == _METADATA:
            raise TypeError(f"{place}: names in a safetensors file are str, and not {_METADATA!r}")
        found.append((name, *_described(place, value)))
    # Those of larger elements first, so that all are aligned; a stable order, so that a file comes back as it was.
    found.sort(key=lambda each: -each[3])
    described: dict[str, Any] = {_METADATA: metadata} if metadata else {}
    at = 0
    for name, dtype, shape, itemsize, _ in found:
        end = at + math.prod(shape) * itemsize
        described[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    try:
        text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"{variable}: a name cannot be written as UTF-8: {error.reason}") from None
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise TypeError(f"{variable}: {len(found)} tensors are too many for a safetensors file")
    return len(text).to_bytes(8, "little") + text, (each[4] for each in found)
