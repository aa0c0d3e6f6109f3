"""Arrays that can be appended to: `pymm.ndarray(shape, maxshape=(None, ...))` and `x.append(rows)`.

An array made so has, behind the text of its dtype, that it grows, and how far (docs/FORMAT.md, "TypeHeader").
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Optional, SupportsIndex

import numpy as np

from . import _dtype, _pymm
from ._errors import ClosedError, InvalidArgument, NotFound, made_here

if TYPE_CHECKING:
    import numpy.typing as npt

MaxShape = tuple[Optional[int], ...]

_ANY = (1 << 64) - 1
_MOST = 10**18 - 1  # of what can be said

# Open shelves by identity of the library's; _shelf.py fills it in.
shelves: Mapping[int, Any] = {}


def checked(
    maxshape: Iterable[Optional[SupportsIndex]], shape: tuple[int, ...], itemsize: int, order: str
) -> MaxShape:
    """What the recipe was given, if an array can be made so."""
    result = tuple(None if n is None else operator.index(n) for n in maxshape)
    if len(result) != len(shape):
        raise ValueError(f"maxshape {result} has {len(result)} axes, and shape {shape} {len(shape)}")
    if not shape:
        raise ValueError("an array without an axis cannot be appended to")
    for axis, (most, extent) in enumerate(zip(result[1:], shape[1:]), 1):
        if most != extent:
            raise ValueError(
                f"maxshape {result}: rows are appended along axis 0; axis {axis} is {extent} and cannot be "
                f"{'without limit' if most is None else most}"
            )
    if result[0] is not None and not shape[0] <= result[0] <= _MOST:
        raise ValueError(f"maxshape {result} has no room for shape {shape}")
    if order != "C" and len(shape) > 1:
        raise ValueError("rows can be appended to arrays in C order only: leave order out")
    if itemsize == 0 or 0 in shape[1:]:
        raise ValueError(f"rows of shape {shape[1:]} and {itemsize} bytes an element have no bytes: nothing to append")
    return result


def text(maxshape: Optional[MaxShape]) -> str:
    """What follows the text of the dtype."""
    if maxshape is None:
        return ""
    return " grows" if maxshape[0] is None else f" grows<={maxshape[0]}"


def is_whole(array: np.ndarray[Any, Any], block: _pymm.Block) -> bool:
    """Whether it shows all of the block's array, and not a part."""
    return (
        block.kind == 1
        and array.shape == block.shape
        and array.dtype == _dtype.decode(block.dtype, block.itemsize)
        # Of no bytes the address means nothing.
        and (block.size == 0 or (array.strides == block.strides and address(array) == block.address))
    )


def address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])


def maxshape(array: np.ndarray[Any, Any], block: Optional[_pymm.Block]) -> MaxShape:
    shape: tuple[int, ...] = array.shape
    if block is None or block.max_rows is None or not is_whole(array, block):
        return shape
    return (None if block.max_rows == _ANY else block.max_rows, *shape[1:])


def append(array: np.ndarray[Any, Any], block: Optional[_pymm.Block], rows: Any) -> npt.NDArray[Any]:
    """Appends to the variable that `array` is, or was before others appended to it."""
    if block is None:
        raise InvalidArgument("this array is not on a shelf: numpy.concatenate() makes a longer one")
    if block.max_rows is None:
        raise InvalidArgument(
            f"variable {block.name!r} was not made to be appended to: make it by "
            f"pymm.ndarray({array.shape}, {array.dtype.str!r}, maxshape={(None, *array.shape[1:])}), then assign or "
            "append what it is to hold"
        )
    if not is_whole(array, block):
        raise InvalidArgument(f"this array is a part of variable {block.name!r}: append to all of it")
    one = shelves.get(block.shelf)
    if one is None:
        raise made_here(ClosedError, f"append to {block.name!r}: its shelf is closed; open it again")
    more = as_rows(rows, array.dtype, array.shape[1:])
    name: str = block.name
    with one._changing(name):
        try:
            one._state.handle.append(name, more.reshape(-1).view(np.uint8) if more.size else b"", block.id)
        except NotFound:
            raise InvalidArgument(
                f"this is a former value: {name!r} was replaced, erased or renamed since; get it anew from the shelf"
            ) from None
    result: npt.NDArray[Any] = one[name]
    # What would be stored to this one could be lost: from some append on it is not the variable's memory.
    if result is not array and array.flags.writeable:
        array.flags.writeable = False
    return result


def as_rows(rows: Any, dtype: np.dtype[Any], inner: tuple[int, ...]) -> npt.NDArray[Any]:
    """What is given, as an array in C order of that dtype and rows of that shape. Converted as NumPy does with
    casting='same_kind', and whole numbers from lists where they fit."""
    given = isinstance(rows, (np.ndarray, np.generic))
    if isinstance(rows, np.ndarray) and type(rows) is not np.ndarray:
        if not isinstance(rows, (np.memmap, _pymm.ArrayBase)):
            raise TypeError(f"append() of {type(rows).__qualname__}: give numpy.asarray(rows) to append its plain elements")
    array: npt.NDArray[Any]
    array = np.array(rows, dtype=dtype) if dtype.names is not None and not given else np.asarray(rows)
    if not given and array.size == 0 and array.ndim == 1:
        return np.empty((0, *inner), dtype)
    if array.shape == inner:
        array = array.reshape((1, *inner))
    elif array.shape[1:] != inner or array.ndim != len(inner) + 1:
        kind = "numbers" if not inner else f"rows of shape {inner}"
        raise ValueError(f"{kind} can be appended, one or an array of them; this has shape {array.shape}")
    if array.dtype == dtype:
        if dtype.names is None or (given and array.flags.c_contiguous):
            return np.ascontiguousarray(array)
        whole = np.zeros(array.shape, dtype)  # with it what pads structures, which NumPy leaves as it was in the heap
        np.copyto(whole, array, casting="no")
        return whole
    converted = None
    if dtype.names is None and dtype.kind in "SUV":
        # NumPy would cut what is too long, and write numbers as text.
        if array.dtype.kind == dtype.kind:
            converted = array.astype(dtype, order="C")
            if array.dtype.itemsize > dtype.itemsize and (dtype.kind == "V" or not bool((converted == array).all())):
                raise ValueError(f"append() to {dtype}: elements of {array.dtype} are longer")
    elif np.can_cast(array.dtype, dtype, casting="same_kind"):
        converted = array.astype(dtype, order="C", casting="same_kind")
    elif not given and array.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if array.size and not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
            raise OverflowError(f"append() to {dtype}: a number is out of bounds")
        converted = array.astype(dtype, order="C")
    if converted is None:
        raise TypeError(
            f"append() to {dtype}: {array.dtype} is not converted to that, as numbers could be lost: use astype()"
        )
    return converted
