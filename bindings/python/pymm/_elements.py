"""Elements that can be stored to: those of structured arrays, and those that `flat` gives.

NumPy's own would write to shelved memory without our notice. As with `x[i] += 1`, a store is durable when it is
returned from where it ends an in-place operator (`x.flat[3] += 1`, `r[0]['f'] += 1`), else after `persist()`.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Iterator, Optional

import numpy as np

from . import _pymm

if TYPE_CHECKING:  # importing it takes as long as all of pymm
    import numpy.typing as npt

array_type: Any = None  # shelved_ndarray, which says so itself


class shelved_void(np.void):  # type: ignore[misc, unused-ignore]
    """A `numpy.void` that shows an element of a structured array on a shelf."""

    __slots__ = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        # NumPy finds the class of an element in its dtype.
        return np.dtype((np.void, np.asarray(self).dtype))

    def __getitem__(self, key: Any) -> Any:
        _pymm.remember_read(self, key)
        part: Any = super().__getitem__(key)
        if isinstance(part, np.void) and part.dtype.names is not None:
            return structured(part)
        if type(part) is np.ndarray and _pymm.block_of(part) is not None:
            return part.view(array_type)
        return part

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if _pymm.was_read(self, key):
            self.persist()

    def persist(self) -> None:
        """Makes all stores to this element durable."""
        _pymm.persist_array(np.asarray(self))

    def _plain(self) -> Any:
        return np.array(self, dtype=self.dtype)[()]

    def __repr__(self) -> str:
        return repr(self._plain())

    def copy(self, *args: Any) -> Any:
        return self._plain()

    def __copy__(self) -> Any:
        return self._plain()

    def __deepcopy__(self, memo: Any) -> Any:
        return self._plain()

    def __reduce__(self) -> Any:
        return self._plain().__reduce__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._plain().__reduce_ex__(protocol)


def structured(element: np.void) -> Any:
    """The same memory as an element that is kept. Called by the extension."""
    memory = np.asarray(element)
    if memory.dtype.names is None:
        return element
    return memory.view(np.dtype((shelved_void, memory.dtype)))[()]


class shelved_flatiter:
    """What `flat` gives: as `numpy.flatiter`, for an array on a shelf."""

    __slots__ = ("_array", "_plain")

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array
        self._plain = np.ndarray.view(array, np.ndarray).flat

    @property
    def base(self) -> npt.NDArray[Any]:
        return self._array

    @property
    def coords(self) -> tuple[int, ...]:
        return tuple(self._plain.coords)

    @property
    def index(self) -> int:
        return self._plain.index

    def copy(self) -> npt.NDArray[Any]:
        return self._plain.copy()

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("an array of the elements of `flat` is always a copy")
        return np.array(self._plain, dtype=dtype)

    def __len__(self) -> int:
        return len(self._plain)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        value = next(self._plain)
        return structured(value) if type(value) is np.void else value

    def __getitem__(self, key: Any) -> Any:
        _pymm.remember_read(self, key)
        value = self._plain[key]
        return structured(value) if type(value) is np.void else value

    def __setitem__(self, key: Any, value: Any) -> None:
        self._plain[key] = value
        if _pymm.was_read(self, key):
            try:
                at: Any = np.unravel_index(operator.index(key) % self._array.size, self._array.shape)
            except TypeError:  # a slice, or a fancy selection
                _pymm.persist_array(self._array)
            else:
                _pymm.persist_array(self._array[(*at, ...)])

    def __delitem__(self, key: Any) -> None:
        raise TypeError("elements of an array cannot be deleted")

    def __eq__(self, other: Any) -> Any:
        return self._plain == other

    def __ne__(self, other: Any) -> Any:
        return self._plain != other

    def __lt__(self, other: Any) -> Any:
        return self._plain < other

    def __le__(self, other: Any) -> Any:
        return self._plain <= other

    def __gt__(self, other: Any) -> Any:
        return self._plain > other

    def __ge__(self, other: Any) -> Any:
        return self._plain >= other
