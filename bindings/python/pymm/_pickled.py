"""Objects that are pickled because their owner says so, twice: `pymm.pickled(obj)`, and `allow_pickle=True`.

Nothing else in this package pickles or unpickles. The bytes are described in docs/FORMAT.md, "Pickled objects".
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _array, _nest, _pymm, _tree
from ._errors import CorruptError, InvalidArgument, PickleRefused

if TYPE_CHECKING:
    from ._shelf import shelf

KIND = 12  # pymm::Kind::pickled (lib/include/pymm/type.hpp)
_PROTOCOL = 5


class pickled:
    """Any Python object that can be pickled, to be put on a shelf that was opened with `allow_pickle=True`.

    >>> s = pymm.shelf('mine', allow_pickle=True)
    >>> s.model = pymm.pickled(sklearn_model)
    >>> s.model.predict(...)

    The buffers of arrays in it are stored beside the pickle (its protocol is 5), aligned, so that they come back as views
    of the shelf's memory, read-only and without a copy. Every access to the variable unpickles it anew, and what is
    changed in the object is not on the shelf before it is assigned again.

    Loading a pickle runs whatever it says: of a shelf that was not opened with `allow_pickle=True` no pickle is loaded
    (PickleRefused, a ValueError) or stored. Only `pymm.pickled.load` does, for one variable. Listing, copying, renaming,
    erasing, `fsck` and `pymmctl` never load one.
    """

    __slots__ = ("value",)

    def __init__(self, obj: Any) -> None:
        self.value = obj

    def __repr__(self) -> str:
        return f"pymm.pickled({self.value!r})"

    @staticmethod
    def load(shelf: shelf, name: str) -> Any:
        """The object of a pickled variable, whether or not the shelf was opened with `allow_pickle=True`. Say it only
        of what you trust. KeyError when there is no such variable, InvalidArgument when it is not pickled."""
        block = shelf._state.handle.get(name)
        if block.kind != KIND:
            raise InvalidArgument(f"{name!r} is not pickled: take it as it is, shelf[{name!r}]")
        return loaded(block)


def refused_to_store(name: str) -> PickleRefused:
    return PickleRefused(
        f"{name!r}: nothing is pickled to a shelf that was not opened with pymm.shelf(..., allow_pickle=True)"
    )


def refused_to_load(block: _pymm.Block) -> PickleRefused:
    return PickleRefused(
        f"variable {block.name!r} is a pickled object of {block.size} bytes. Loading it runs what is in it: if you trust it, "
        f"open the shelf with pymm.shelf(..., allow_pickle=True), or say pymm.pickled.load(shelf, {block.name!r})"
    )


def _bytes_of(data: Any) -> np.ndarray[Any, Any]:
    return np.frombuffer(data, np.uint8) if len(data) else np.empty(0, np.uint8)


def plan(name: str, obj: Any) -> _nest.Plan:
    """What is to be written. TypeError when the object cannot be pickled."""
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = pickle.dumps(obj, _PROTOCOL, buffer_callback=buffers.append)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise TypeError(f"{name!r}: {_nest.type_name(obj)} cannot be pickled: {error}") from error
    return _nest.Plan(name, (_bytes_of(data), [_bytes_of(buffer.raw()) for buffer in buffers]))


def loaded(block: _pymm.Block) -> Any:
    """The object. Whatever unpickling it raises; CorruptError when there is no pickle."""
    tree = _tree.Tree(block)
    head, offset = tree.root
    tree.check_container(_tree.ROOT, head, offset, 0)
    whole: Any = tree.nest(head & 0xFF, offset, head >> 8, 0, False) if head & 0xFF == _tree.TUPLE else ()
    parts: list[Any] = [whole[0], *whole[1]] if len(whole) == 2 and type(whole[1]) is list else [None]
    for part in parts:
        if not isinstance(part, _array.shelved_ndarray) or part.dtype != np.uint8 or part.ndim != 1:
            raise CorruptError(f"variable {block.name!r} is no pickle: restore it from a copy, or erase it")
    plain: list[Any] = [np.ndarray.view(part, np.ndarray) for part in parts]
    views = [memoryview(array) for array in plain]
    return pickle.loads(views[0], buffers=views[1:])
