"""Files of other formats, to a shelf and from it, without a copy through the heap.

A `safetensors` file (https://github.com/huggingface/safetensors) is eight bytes, a header in JSON, and the elements of
tensors. Here it becomes one variable: a dict of tensors, read-only, whose elements are copied once, from the file's pages
to the shelf, and are looked at where they are. The package of that name is not needed. `pymmctl put` and `get` do the same.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any, Iterator, Optional

import numpy as np

from . import _array, _checkpoints, _containers, _dtype, _nest, _safetensors, _store, _tensor, _tree, _values
from ._errors import CorruptError, InvalidArgument
from ._objects import Parts

if TYPE_CHECKING:
    from ._paths import PathLike
    from ._shelf import shelf as Shelf

__all__ = ["load_safetensors", "save_safetensors"]


def load_safetensors(shelf: Shelf, name: str, path: PathLike, framework: str = "pt") -> None:
    """Puts a `safetensors` file on a shelf as variable `name`, atomically and durably, as any assignment.

    >>> pymm.io.load_safetensors(s, 'bert', 'model.safetensors')
    >>> model.load_state_dict(s.bert)             # zero-copy: tensors over the shelf's memory
    >>> s.load('bert', map_location='cuda')       # plain ones, as of a checkpoint

    `framework` is 'pt' for tensors of PyTorch (which is not needed before one is looked at), 'np' for NumPy's arrays.

    CorruptError (a ValueError) for a file that is damaged or of another format, TypeError for elements that cannot be
    stored: of less than a byte, and with 'np' those that NumPy has not (bfloat16, float8). Then nothing has changed.
    """
    if framework not in ("pt", "np"):
        raise InvalidArgument(f"framework {framework!r}: one of 'pt', 'np'")
    _store.check_name(name)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        entries, metadata, start = _safetensors.read_header(os.fspath(path), file, size)
        mapped: Any = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    whole = memoryview(mapped)
    values: dict[str, Any] = {}
    for entry in entries:
        data = whole[start + entry.begin : start + entry.end]
        text, itemsize = _safetensors.stored(entry.dtype, name, entry.name, framework)
        if framework == "np":
            dtype = _dtype.decode(text, itemsize)
            elements = np.frombuffer(data, dtype) if len(data) else np.empty(0, dtype)
            values[entry.name] = elements.reshape(entry.shape)
        else:
            strides = _array._strides(entry.shape, itemsize, "C")
            values[entry.name] = _tensor.Elements(text, itemsize, entry.shape, strides, data, whole)
    handle = shelf._state.handle
    plan = _nest.Plan(name, Parts(_tree.SAFETENSORS, {"tensors": values, "metadata": metadata}))
    with shelf._changing(name):
        _store.store_plan(handle, handle, name, _values.TREE, plan)


def save_safetensors(shelf: Shelf, name: str, path: PathLike, metadata: Optional[dict[str, str]] = None) -> None:
    """Writes a variable, or the newest version of a checkpoint, to a `safetensors` file: a dict of tensors and arrays by
    names. The file is written beside and renamed when it is whole and durable.

    `metadata` are texts by names, or None for those that the variable came with. Needs neither PyTorch nor the package
    of the format. KeyError when there is no such variable or checkpoint; TypeError for what is no such dict.
    """
    items, kept = _items(shelf, name)
    header, parts = _safetensors.header(name, items, kept if metadata is None else metadata)
    target = os.fspath(path)
    temporary = f"{target}.{os.urandom(8).hex()}"
    # Not of the module tempfile: that makes files that others cannot read.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            for data in (header, *parts):
                _write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _write(fd: int, data: Any) -> None:
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(fd, rest[: 1 << 30]) :]


def _items(shelf: Shelf, name: str) -> tuple[Iterator[tuple[Any, Any]], dict[str, str]]:
    """Names and elements of a variable that is a dict; what it came with."""
    handle = shelf._state.handle
    if name in shelf:
        block = handle.get(name)
    else:
        block = handle.get(_checkpoints.newest(shelf, name))
    if block.kind != _values.TREE:
        raise TypeError(f"{name!r} is no dict of tensors: only these can be a safetensors file")
    tree = _tree.Tree(block)
    tree.raw = True  # tensors as what is stored of them
    head, offset = tree.root
    tree.check_container(_tree.ROOT, head, offset, 0)
    metadata: dict[str, str] = {}
    if head & 0xFF == _tree.OBJECT:
        found = tree.opened(_tree.ROOT, head, offset, 0, False, parts=True)
        if found.name != _tree.SAFETENSORS:
            raise TypeError(f"{name!r} is a {found.name[:80]}, no dict of tensors: only these can be a safetensors file")
        value, metadata = found.parts.get("tensors"), found.parts.get("metadata", {})
        if type(value) is not dict or not _safetensors.is_metadata(metadata):
            raise CorruptError(f"variable {name!r} is no dict of tensors: restore it from a copy, or erase it")
    else:
        value = _containers.from_block(block, tree)._nest()
        if isinstance(value, tuple) and len(value) == 1 and block.name != name:
            value = value[0]
        if not isinstance(value, dict):
            raise TypeError(f"{name!r} is a {type(value).__name__}, no dict of tensors: only these can be a safetensors file")
    return iter(value.items()), metadata
