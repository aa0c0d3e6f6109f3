"""Tensors without PyTorch: the recipe `pymm.torch_tensor`, and what the shelf asks about values.

Nothing here imports PyTorch before somebody wants a tensor; `_torch.py` does the rest.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import numpy as np

from . import _array, _dtype, _pymm
from ._errors import InvalidArgument, made_here

if TYPE_CHECKING:
    from ._shelf import shelf

    import numpy.typing as npt

KIND = 11  # pymm::Kind::tensor (lib/include/pymm/type.hpp)

# Behind the name of the elements: the tensor took part in differentiation when it was assigned.
GRAD = " requires_grad"


class Elements(NamedTuple):
    """What is stored of a tensor."""

    text: str
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In bytes."""
    memory: Any
    """A buffer of all bytes, in the order of the strides."""
    owner: Any
    """Keeps the memory."""


def elements(value: Any) -> Elements:
    """Of a tensor. TypeError for one that cannot be stored."""
    found: Elements = (_found or _module("a tensor is to be stored")).elements(value)
    return found


def part(block: _pymm.Block, memory: Any, text: str, itemsize: int, shape: Any, strides: Any) -> Any:
    """The tensor over private memory with some of a block's bytes; ValueError, TypeError or RuntimeError where they are
    none."""
    module = _found or _module(f"variable {block.name!r} has tensors in it")
    return module.part(block, memory, text, itemsize, shape, strides)


def copied(value: Any) -> Any:
    """A plain copy of a tensor."""
    return _module("").copied(value)


def placed(value: Any, map_location: Any, copy: bool) -> Any:
    """The tensor where `map_location` says, as `torch.load` understands that; or a copy, or itself."""
    return _module("").placed(value, map_location, copy)


def is_module(value: Any) -> bool:
    """Whether `value` is any of PyTorch's modules."""
    torch = sys.modules.get("torch")
    cls = getattr(getattr(torch, "nn", None), "Module", None)
    return cls is not None and isinstance(value, cls)


_found: Any = None  # pymm._torch, once it was imported: to ask for it takes as long as half of a tensor


def _module(why: str) -> Any:
    """pymm._torch; ImportError that begins with `why` where there is no PyTorch."""
    global _found
    try:
        from . import _torch
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise ImportError(
            f"{why}, and PyTorch cannot be imported here ({error}): install it (`pip install torch`), or take the "
            "elements as a NumPy array, pymm.torch_tensor.asndarray(shelf, name)",
            name="torch",
        ) from error
    _found = _torch
    return _torch


def is_tensor(value: Any) -> bool:
    """Whether `value` is any of PyTorch's tensors."""
    torch = sys.modules.get("torch")
    cls = getattr(torch, "Tensor", None)  # not there while it is being imported
    return cls is not None and isinstance(value, cls)


def is_shelved(value: Any) -> bool:
    """Whether `value` is a tensor over the memory of a shelf."""
    return is_tensor(value) and isinstance(value, _module("").shelved_torch_tensor)


def store(target: Any, handle: _pymm.Handle, name: str, value: Any) -> None:
    """Puts a tensor or a recipe of one."""
    _module(f"{name!r} is to be a tensor").store(target, handle, name, value)


def from_block(block: _pymm.Block) -> Any:
    """The tensor over a block that holds one."""
    return _module(f"variable {block.name!r} is a tensor").from_block(block)


def block_of(value: Any) -> _pymm.Block:
    """The block whose memory a shelved tensor shows."""
    block: _pymm.Block = value._block
    return block


def settles(owner: shelf, name: str, value: Any) -> bool:
    """Whether `value`, a tensor that is assigned to a variable, is the variable already; what was stored to it is
    durable then. RuntimeError for a part of the variable, or another view of its memory."""
    if is_shelved(value):
        kept, block = value, value._block
    else:
        kept = owner._opened(name)
        if not is_shelved(kept) or not kept._shares(value):
            return False
        block = kept._block
    # One in a container has the container's block.
    if block.kind != KIND or block.name != name or not owner._state.handle.is_current(name, block):
        return False
    if not is_whole(value, block):
        raise made_here(
            InvalidArgument,
            f"{name!r}: this tensor is a view of the variable itself, so the assignment would make it refer to its own "
            "former memory: assign a copy, value.clone()",
        )
    kept._persist(value)
    return True


def is_whole(value: Any, block: _pymm.Block) -> bool:
    """Whether a tensor over the memory of `block` shows it as the variable does."""
    return bool(_module("").is_whole(value, block))


def asndarray(owner: shelf, name: str) -> npt.NDArray[Any]:
    """The elements of a tensor variable as an array on the shelf."""
    block = owner._state.handle.get(name)
    if block.kind != KIND:
        raise InvalidArgument(f"{name!r} is no tensor: take it as it is, shelf[{name!r}]")
    memory: Any = block
    text = block.dtype.partition(" ")[0]
    return _array.over(memory, numpy_dtype(text, block.itemsize), block)


def numpy_dtype(text: str, itemsize: int) -> np.dtype[Any]:
    """NumPy's dtype for elements of a tensor: unsigned integers of that width where it has none."""
    if text[:1] in "<>|=":
        return _dtype.decode(text, itemsize)
    return _dtype.decode(f"{'|' if itemsize == 1 else '<'}u{itemsize}", itemsize)


class _Recipe(type):
    @property
    def shelved_torch_tensor(cls) -> Any:
        """The class of what comes back, for `isinstance`. Imports PyTorch."""
        return _module("this is a class of tensors").shelved_torch_tensor


class torch_tensor(metaclass=_Recipe):
    """A recipe: assigned to a variable, it makes a tensor on the shelf.

    >>> s.w = pymm.torch_tensor((1000, 1000), dtype=torch.float32, requires_grad=True)   # zeros, made on the shelf
    >>> s.v = pymm.torch_tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> s.u = torch.randn(3, 3)                                                          # needs no recipe

    Parameters
    ----------
    data
        A tuple of sizes or a `torch.Size` is a shape: the tensor is filled with zeros, without a copy in DRAM. All else
        is data: a list, a number (which makes a tensor of no dimensions), a NumPy array, a tensor.
    dtype
        `torch.dtype`, a Python type (`float` is torch.float64), or a NumPy dtype. None takes the data's; for a shape,
        torch.get_default_dtype().
    strides
        None, or those that follow from the shape and `order`.
    order
        'C' or 'F': which index of a shape is fastest. Data keeps the order that it has.
    requires_grad
        Whether operations on it are recorded, now and whenever it is opened; None keeps what the data says.
    """

    __slots__ = ("value", "shape", "dtype", "order", "requires_grad")

    def __init__(
        self,
        data: Any,
        dtype: Any = None,
        strides: Optional[tuple[int, ...]] = None,
        order: str = "C",
        requires_grad: Optional[bool] = None,
    ) -> None:
        if order not in ("C", "F"):
            raise ValueError(f"order is 'C' or 'F', not {order!r}")
        module = _module("a recipe of a tensor needs it")
        self.order = order
        self.requires_grad = requires_grad
        self.value, self.shape, self.dtype = module.recipe(data, dtype, strides, order, requires_grad)

    def __repr__(self) -> str:
        return f"pymm.torch_tensor({self.shape}, dtype={self.dtype}, order={self.order!r})"

    @staticmethod
    def asndarray(shelf: shelf, name: str) -> npt.NDArray[Any]:
        """The elements of a tensor variable as a `shelved_ndarray` over the same memory; needs no PyTorch. Elements that
        NumPy does not know (bfloat16, float8, complex32) are unsigned integers of their width."""
        return asndarray(shelf, name)
