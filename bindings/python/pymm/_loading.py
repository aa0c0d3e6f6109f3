"""`shelf.load()`: where the tensors of a checkpoint go, and what takes them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _checkpoints, _containers, _objects, _tensor
from ._errors import CorruptError, InvalidArgument

if TYPE_CHECKING:
    from ._shelf import shelf


def load(one: shelf, name: str, version: int, copy: bool, map_location: Any, into: Any, strict: bool) -> Any:
    if into is None and not strict:
        raise InvalidArgument("strict=False says how a state is loaded into something: give it, into=model")
    whole = _whole(one, name, version)
    if into is not None:
        return _into(whole, into, strict, map_location, name)
    if map_location is None:
        if isinstance(whole, _containers.ShelvedContainer):
            return whole.plain() if copy else whole
        return _placed(whole, None, copy)
    # Of containers that look into the shelf, tensors cannot be elsewhere.
    return _placed(whole._nest() if isinstance(whole, _containers.ShelvedContainer) else whole, map_location, copy)


def _whole(one: shelf, name: str, version: int) -> Any:
    """What was saved, looking into the shelf; a variable of that name where there is no such checkpoint."""
    try:
        variable, held = _checkpoints.opened(one, name, version)
    except KeyError:
        if version != -1 or name not in one:
            raise
        value = one._open(name)
        if not isinstance(value, _containers.ShelvedContainer):
            raise
        return value
    if not isinstance(held, _containers.shelved_tuple) or len(held) != 1:
        raise CorruptError(f"variable {variable!r} is no checkpoint: it was not written by save()")
    return held[0]


def _placed(value: Any, map_location: Any, copy: bool) -> Any:
    """The same with tensors where they are to be, and with copies of all if so wanted."""
    cls = type(value)
    if cls in (list, tuple):
        return cls([_placed(element, map_location, copy) for element in value])
    if cls in (dict, OrderedDict):
        return cls((key, _placed(element, map_location, copy)) for key, element in value.items())
    if _tensor.is_tensor(value):
        return _tensor.placed(value, map_location, copy)
    if not copy:
        return value
    if isinstance(value, np.ndarray):
        return value.copy("K")
    return _objects.copied(value) if _objects.is_object(value) else value


def _into(whole: Any, into: Any, strict: bool, map_location: Any, place: str) -> Any:
    """Gives parts of a checkpoint to what has load_state_dict()."""
    if isinstance(into, dict):
        found = {}
        for key, target in into.items():
            try:
                part = whole[key]
            except (KeyError, IndexError, TypeError):
                raise KeyError(f"{place}: nothing was saved as {key!r}") from None
            found[key] = _into(part, target, strict, map_location, f"{place}[{key!r}]")
        return found
    if not hasattr(into, "load_state_dict"):
        raise TypeError(f"into={type(into).__name__}: something with load_state_dict(), or a dict of such")
    nest = whole._nest() if isinstance(whole, _containers.ShelvedContainer) else whole
    if _tensor.is_module(into):
        # It copies what it gets: once, from the shelf.
        return into.load_state_dict(_placed(nest, map_location, False), strict=strict)
    # Optimizers, schedulers and others keep what they get.
    return into.load_state_dict(_placed(nest, map_location, True))
