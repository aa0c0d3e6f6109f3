"""Arrays from, and for, whatever speaks DLPack."""

from __future__ import annotations

from typing import Any, Iterable, Optional, SupportsIndex, Union

import numpy as np

from ._array import ndarray, shelved_ndarray


class dlpack_array:
    """A recipe: assigned to a variable, it makes an array on the shelf.

    >>> s.x = pymm.dlpack_array((1000, 1000), dtype=np.float32)    # zeros, made on the shelf
    >>> s.y = pymm.dlpack_array(tensor)                            # a copy of what has __dlpack__
    >>> t = torch.from_dlpack(s.y)                                 # the shelf's memory, as a tensor

    What comes back is a `shelved_ndarray`, as of `pymm.ndarray`. It has `__dlpack__` and `__dlpack_device__`: NumPy,
    PyTorch and other consumers share its memory, and what they hold keeps it valid, and the shelf this process's, as an
    array does. They store past our notice: such stores are durable after `persist()` of the array, and what else the
    table in the module's documentation says of element stores.

    Of a read-only array (mode='r', or sealed) consumers get private pages: not every one knows memory that must not be
    stored to. What is stored there stays with them.

    Parameters
    ----------
    source
        A shape, or an object with `__dlpack__` whose elements are in the memory of the CPU and known to NumPy.
    dtype, order
        Of a shape: as `pymm.ndarray` takes them. Not for a source that has both.

    BufferError where the source cannot be exported (it takes part in differentiation, it is on another device).
    TypeError where its elements are none of NumPy's: PyTorch's bfloat16 is assigned as a tensor.
    """

    shelved_dlpack_array = shelved_ndarray

    __slots__ = ("value",)

    def __init__(
        self,
        source: Any,
        dtype: Any = None,
        order: Optional[str] = None,
    ) -> None:
        self.value: Union[ndarray, np.ndarray[Any, Any]]
        if not hasattr(source, "__dlpack__"):
            shape: Union[SupportsIndex, Iterable[SupportsIndex]] = source
            self.value = ndarray(shape, float if dtype is None else dtype, order=order)
            return
        if dtype is not None or order is not None:
            raise ValueError("dtype and order are the source's: leave them out, or convert it first")
        if isinstance(source, np.ndarray):
            self.value = source  # also where NumPy would not export it: read-only, structured
            return
        try:
            self.value = np.from_dlpack(source)
        except (RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, BufferError):
                raise
            cls = type(source)
            raise TypeError(
                f"NumPy cannot take this {cls.__module__}.{cls.__qualname__} by DLPack: {error}; a tensor can be assigned "
                "as it is"
            ) from error

    def __repr__(self) -> str:
        return f"pymm.dlpack_array({self.value.shape}, dtype={self.value.dtype!r})"
