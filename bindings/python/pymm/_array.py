"""Arrays on a shelf: the recipe `pymm.ndarray` and what it makes, `pymm.ndarray.shelved_ndarray`."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Iterable, Optional, SupportsIndex, Union

import numpy as np

from . import _append, _dtype, _elements, _pymm
from ._errors import CorruptError

if TYPE_CHECKING:  # importing it takes as long as all of pymm
    import numpy.typing as npt

MOST = 1 << 62  # bytes that a stride may skip

_plain_view = np.ndarray.view


class shelved_ndarray(_pymm.ArrayBase):
    """A `numpy.ndarray` whose memory is on a shelf.

    Arithmetic gives plain arrays; views (`x[1:]`, `x.T`) stay on the shelf; copies are plain. In-place
    operators (`x += 1`, `x[1] += 9`, `x[:, 3] *= 2`, `x[0]['field'] += 1`, `x.flat[3] += 1`), NumPy's functions and
    methods that take it as `out=`, `ufunc.at`, `numpy.copyto`, `put`, `place`, `putmask`, `fill_diagonal` and
    `put_along_axis`, and the methods `fill`, `sort`, `partition`, `put`, `setfield` and `byteswap(inplace=True)` are
    durable for the bytes they cover when they return.
    Stores to elements and slices (`x[0] = 1`, `x.flat = 1`, `x.real = 1`), `f.readinto(x)`, and whatever writes without
    NumPy's protocols are durable after `persist()`, `persist_offset()`, the shelf's `persist()` or `close()`, or the
    assignment of the array to its own variable (`s.x = x`). Those are: plain arrays, buffers and iterators of the same
    memory (`asndarray()`, `memoryview(x)`, `numpy.nditer`), methods of a plain array that are given `out=x` but are no
    ufunc at heart (`a.take`, `a.dot`, `a.compress`, `a.choose`, `a.argmax`, `a.argmin`), `numpy.random`
    (`rng.random(out=x)`, `rng.shuffle(x)`), and code from elsewhere.

    The array stays valid whatever happens to its variable or shelf: after the variable is replaced or
    erased, it keeps the old bytes, and nobody else sees what is stored there.
    """

    # No attributes: NumPy makes these by the thousand.
    __slots__ = ()

    # Below the 0.0 of numpy.ndarray: functions that take the type of their inputs make plain arrays.
    __array_priority__ = -1.0

    @property
    def name(self) -> Optional[str]:
        """Name of the variable when it was opened; None for arrays that are not on a shelf."""
        block = _pymm.block_of(self)
        return None if block is None else block.name

    @property
    def addr(self) -> Optional[int]:
        """Address of the first element in this process, valid while the array lives; None for arrays that
        are not on a shelf. Another process, and the next opening, may see another, unless both ask for
        the same `load_addr`."""
        if _pymm.block_of(self) is None:
            return None
        address: int = self.__array_interface__["data"][0]
        return address

    def persist(self) -> None:
        """Makes all stores to the bytes that this array (or view) covers durable."""
        _pymm.persist_array(self)

    def persist_offset(self, offset: SupportsIndex, length: SupportsIndex) -> None:
        """Makes stores to `length` elements from element `offset` (counted in memory order, as PyMM
        did) durable."""
        first, count = operator.index(offset), operator.index(length)
        if first < 0 or count < 0 or first + count > self.size:
            raise IndexError(f"persist_offset({first}, {count}) reaches outside the {self.size} elements")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise ValueError("persist_offset() needs a contiguous array; use persist() of this view")
        if count:
            _pymm.persist_array(np.ravel(_plain_view(self, np.ndarray), order="K")[first : first + count])

    @property
    def maxshape(self) -> _append.MaxShape:
        """The shape that this array can grow to by append(): None for an axis without limit. The present shape for
        arrays that were not made for that."""
        return _append.maxshape(self, _pymm.block_of(self))

    def append(self, rows: Any) -> npt.NDArray[Any]:
        """Appends a row, or an array of rows, to a variable that was made by `pymm.ndarray(..., maxshape=(None, ...))`,
        and returns the variable's new array, as `s.x` does. Durable and atomic when it returns: after a crash all of
        the rows are there, or none. It costs what the rows do, however large the array is, but for a copy each time
        that it has doubled (beyond 1 MiB: is half as large again).

        This array keeps its shape, and is read-only from then on, because the variable's memory may be elsewhere: use
        what is returned, or `s.x`. Appending to it once more appends to the variable. Other arrays of the variable
        stay as they are, as after an assignment to it: what is stored there may reach nobody.

        Rows are converted as NumPy does with casting='same_kind'; TypeError where that would lose numbers,
        ValueError for rows of another shape, for more of them than `maxshape` allows, and where this is not
        the variable any more. NoSpaceError (a MemoryError) when the shelf is full, ReadOnlyError when it is
        open for reading. Then nothing has changed. Threads may append to one variable at the same time.
        """
        return _append.append(self, _pymm.block_of(self), rows)

    def asndarray(self) -> npt.NDArray[Any]:
        """The same memory as a plain `numpy.ndarray`."""
        return _plain_view(self, np.ndarray)

    def __dlpack__(self, **options: Any) -> Any:
        block = _pymm.block_of(self)
        if block is None or block.writable:
            return super().__dlpack__(**options)
        # A consumer may not know memory that must not be stored to, and PyTorch does not.
        memory: Any = _pymm.private_memory(block)
        if self.size == 0 or self.itemsize == 0:
            return np.ndarray(self.shape, self.dtype).__dlpack__(**options)
        offset = self.__array_interface__["data"][0] - block.address
        return np.ndarray(self.shape, self.dtype, memory, offset, self.strides).__dlpack__(**options)

    # In-place methods.

    def fill(self, value: Any) -> None:
        super().fill(value)
        _pymm.persist_array(self)

    def sort(self, *args: Any, **kwargs: Any) -> None:
        super().sort(*args, **kwargs)
        _pymm.persist_array(self)

    def partition(self, *args: Any, **kwargs: Any) -> None:
        super().partition(*args, **kwargs)
        _pymm.persist_array(self)

    def put(self, *args: Any, **kwargs: Any) -> None:
        super().put(*args, **kwargs)
        _pymm.persist_array(self)

    def setfield(self, *args: Any, **kwargs: Any) -> None:
        super().setfield(*args, **kwargs)
        _pymm.persist_array(self)

    def byteswap(self, inplace: bool = False) -> npt.NDArray[Any]:  # type: ignore[override]
        if not inplace:
            return _plain_view(self, np.ndarray).byteswap()
        super().byteswap(True)
        _pymm.persist_array(self)
        return self

    # What gives single elements.

    @property
    def flat(self) -> Any:
        """As `numpy.flatiter`; `x.flat[3] += 1` is durable when it returns."""
        return _elements.shelved_flatiter(self)

    @flat.setter
    def flat(self, value: Any) -> None:
        _plain_view(self, np.ndarray).flat = value  # type: ignore[misc, unused-ignore]

    # Methods that return a view where they can.

    def reshape(self, *args: Any, **kwargs: Any) -> npt.NDArray[Any]:  # type: ignore[override]
        return _pymm.demote(super().reshape(*args, **kwargs))

    def ravel(self, *args: Any, **kwargs: Any) -> npt.NDArray[Any]:
        return _pymm.demote(super().ravel(*args, **kwargs))

    def astype(self, *args: Any, **kwargs: Any) -> npt.NDArray[Any]:
        return _pymm.demote(super().astype(*args, **kwargs))

    # Copies and pickles are of plain arrays.

    def __copy__(self) -> npt.NDArray[Any]:  # type: ignore[override]
        return _plain_view(self, np.ndarray).copy(order="K")

    def __deepcopy__(self, memo: Any) -> npt.NDArray[Any]:  # type: ignore[override]
        return _plain_view(self, np.ndarray).copy(order="K")

    def __reduce__(self) -> Any:
        return _plain_view(self, np.ndarray).__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _plain_view(self, np.ndarray).__reduce_ex__(protocol)


def _on_plain_view(name: str) -> Any:
    method = getattr(np.ndarray, name)

    def call(self: shelved_ndarray, /, *args: Any, **kwargs: Any) -> Any:
        plain = _plain_view(self, np.ndarray)
        result = method(plain, *args, **kwargs)
        if result is plain:  # nothing to do, as for conj() of real numbers
            return self
        if isinstance(result, shelved_ndarray):  # given as `out`
            _pymm.persist_array(result)
        return result

    call.__name__ = name
    call.__qualname__ = f"shelved_ndarray.{name}"
    call.__doc__ = method.__doc__
    return call


# These return new arrays, `out`, or (conj and round, where there is nothing to do) the array itself: made from a
# plain view, new ones own their memory and are plain.
for _name in (
    "all",
    "any",
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "choose",
    "clip",
    "compress",
    "conj",
    "conjugate",
    "copy",
    "cumprod",
    "cumsum",
    "dot",
    "flatten",
    "max",
    "mean",
    "min",
    "prod",
    "repeat",
    "round",
    "searchsorted",
    "std",
    "sum",
    "take",
    "var",
):
    setattr(shelved_ndarray, _name, _on_plain_view(_name))
del _name


class ndarray:
    """A recipe: assigned to a variable, it makes a zero-filled array on the shelf.

    >>> s.x = pymm.ndarray((1000, 1000), dtype=np.int64)

    The parameters are those of `numpy.ndarray`; memory (`buffer`, `offset`) is the shelf's own and cannot
    be given. Nothing is allocated in DRAM.

    With `maxshape` rows can be appended to it: `(None, 8)` allows any number of rows, `(1000, 8)` so many. Only the first axis can
    grow. A longer array takes up to twice its size on the shelf.

    >>> s.log = pymm.ndarray((0, 8), maxshape=(None, 8))
    >>> s.log.append(np.arange(8))
    """

    shelved_ndarray = shelved_ndarray

    __slots__ = ("shape", "dtype", "order", "maxshape")

    def __init__(
        self,
        shape: Union[SupportsIndex, Iterable[SupportsIndex]],
        dtype: npt.DTypeLike = float,
        buffer: None = None,
        offset: int = 0,
        strides: Optional[Iterable[int]] = None,
        order: Optional[str] = None,
        zero: bool = True,
        maxshape: Optional[Iterable[Optional[SupportsIndex]]] = None,
    ) -> None:
        if buffer is not None or offset:
            raise ValueError("the memory is the shelf's own: assign numpy.ndarray(..., buffer=...) to copy it")
        # A sub-array dtype adds its dimensions, as in numpy.empty().
        element = np.dtype(dtype)
        extents: tuple[int, ...]
        try:
            extents = (operator.index(shape),)  # type: ignore[arg-type]
        except TypeError:
            extents = tuple(operator.index(n) for n in shape)  # type: ignore[union-attr]
        if element.subdtype is not None:
            element, more = element.subdtype
            extents += more
        if any(n < 0 for n in extents):
            raise ValueError("negative dimensions are not allowed")
        if order not in (None, "C", "F"):
            raise ValueError(f"order is 'C' or 'F', not {order!r}")
        # numpy.empty() makes these one character wide too.
        if element.itemsize == 0 and element.kind in "SU":
            element = np.dtype(f"{element.kind}1")
        self.shape = extents
        self.dtype = element
        self.order = order or "C"
        if strides is not None and tuple(strides) != _strides(extents, element.itemsize, self.order):
            raise ValueError("an array on a shelf is contiguous: leave strides out, and use order='C' or 'F'")
        self.maxshape = None if maxshape is None else _append.checked(maxshape, extents, element.itemsize, self.order)

    def __repr__(self) -> str:
        more = "" if self.maxshape is None else f", maxshape={self.maxshape}"
        return f"pymm.ndarray({self.shape}, dtype={self.dtype!r}, order={self.order!r}{more})"


def _strides(shape: tuple[int, ...], itemsize: int, order: str) -> tuple[int, ...]:
    result, step = [], itemsize
    for extent in shape if order == "F" else reversed(shape):
        result.append(step)
        step = min(step * max(extent, 1), MOST)  # the library refuses what overflows
    return tuple(result if order == "F" else reversed(result))


_pymm.use_elements(_elements.structured)
_pymm.use_sequence(shelved_ndarray)
_elements.array_type = shelved_ndarray


def from_block(block: _pymm.Block) -> npt.NDArray[Any]:
    """The array over a block that holds one, or over raw bytes."""
    memory: Any = block
    if block.kind == 0:
        return shelved_ndarray((block.size,), np.uint8, memory)
    return over(memory, _dtype.decode(block.dtype, block.itemsize), block)


def over(memory: Any, dtype: np.dtype[Any], block: _pymm.Block) -> npt.NDArray[Any]:
    """The array of the block's shape over its memory."""
    try:
        if dtype.itemsize == 0 or block.size == 0:
            # No byte is ever touched: strides say nothing.
            return shelved_ndarray(block.shape, dtype, memory)
        # NumPy checks that shape and strides stay inside the block.
        return shelved_ndarray(block.shape, dtype, memory, 0, block.strides)
    except (ValueError, TypeError, OverflowError) as error:
        raise CorruptError(
            f"array {block.name!r} of shape {block.shape} and dtype {block.dtype} cannot be shown by this "
            f"NumPy ({np.__version__}): {error}"
        ) from error
