"""Which variable an object is the value of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _array, _containers, _linked_list, _pymm, _tensor, _values
from ._errors import InvalidArgument

if TYPE_CHECKING:
    from ._shelf import shelf


def name_of(owner: shelf, value: Any) -> str:
    """The variable whose present value this object is."""
    handle: _pymm.Handle = owner._state.handle
    if isinstance(value, _array.shelved_ndarray):
        block = _pymm.block_of(value)
        if block is None:
            raise InvalidArgument("this array is not on a shelf: give the name of a variable")
        name = block.name
        ours = block.shelf == handle.identity
        current = ours and handle.is_current(name, block)
        if current and not owner._is_variable(name, value):
            raise InvalidArgument(f"this array is a view, not all of variable {name!r}: give the name")
    elif _tensor.is_shelved(value):
        block = _tensor.block_of(value)
        name = block.name
        ours = block.shelf == handle.identity
        current = ours and handle.is_current(name, block)
        if current and not _tensor.is_whole(value, block):
            raise InvalidArgument(f"this tensor is a view, not all of variable {name!r}: give the name")
    elif isinstance(value, _linked_list.shelved_linked_list):
        name = value.name
        ours = current = value.is_on(handle)
    elif isinstance(value, _values.ShelvedValue):
        if isinstance(value, str):
            raise InvalidArgument(
                f"a string on a shelf could be meant as a name ({str(value)[:40]!r}) or as the variable "
                f"that holds it ({value.name!r}): say str(value), or value.name"
            )
        name = value.name
        if isinstance(value, _containers.ShelvedContainer) and not value.is_whole:
            raise InvalidArgument(f"this is a part of variable {name!r}, not all of it: give the name")
        origin, number, sequence = value._origin
        ours = origin() is owner
        current = ours and handle.is_version(name, number, sequence)
    elif isinstance(value, str):
        return value
    else:
        raise TypeError(f"give a name, or an array, value or container of this shelf, not {type(value).__name__}")
    if not ours:
        raise InvalidArgument(f"variable {name!r} that this is a value of is not on shelf {owner.name!r}")
    if not current:
        raise InvalidArgument(
            f"this is a former value: {name!r} was replaced, erased, renamed or sealed since; give the name"
        )
    return name
