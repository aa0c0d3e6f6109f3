"""Tensors on a shelf. Imported only where somebody uses PyTorch."""

from __future__ import annotations

import ctypes
import importlib
import operator
from typing import Any, Optional, SupportsIndex

import numpy as np

from . import _array, _pymm, _tensor
from ._errors import CorruptError, Error, ReadOnlyError, made_here

# Not imported by name: type checkers must not want it, either.
torch: Any = importlib.import_module("torch")

# Elements of which NumPy has the same: their text on the shelf is NumPy's.
_NUMPY: dict[Any, str] = {
    getattr(torch, name): np.dtype(text).str
    for name, text in {
        "bool": "?",
        "uint8": "u1",
        "uint16": "<u2",
        "uint32": "<u4",
        "uint64": "<u8",
        "int8": "i1",
        "int16": "<i2",
        "int32": "<i4",
        "int64": "<i8",
        "float16": "<f2",
        "float32": "<f4",
        "float64": "<f8",
        "complex64": "<c8",
        "complex128": "<c16",
    }.items()
    if hasattr(torch, name)
}
# And those that only PyTorch has. No quantized ones: what their numbers mean is not in their bytes.
_OWN: dict[Any, str] = {
    getattr(torch, name): name
    for name in (
        "bfloat16",
        "complex32",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
        "float8_e8m0fnu",
        "float4_e2m1fn_x2",
    )
    if hasattr(torch, name)
}
_TEXT: dict[Any, str] = {**_NUMPY, **_OWN}
_DTYPE: dict[str, Any] = {text: dtype for dtype, text in _TEXT.items()}


# --- what comes back ----------------------------------------------------------------------------


class _Address(int):
    """An address that is also what `addr` of every tensor is: the method that adds an outer product."""

    _tensor: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return torch.addr(self._tensor, *args, **kwargs)


class shelved_torch_tensor(torch.Tensor):  # type: ignore[misc, unused-ignore]
    """A `torch.Tensor` whose memory is on a shelf.

    Operators and functions give plain tensors; views (`w[1:]`, `w.T`, `w.detach()`, `torch.nn.Parameter(w)`) stay on
    the shelf, over the same memory; in-place methods (`add_`, `fill_`, `copy_`, an optimizer's step) and operators
    change it there. `s.w += 1` is durable when it returns, as it ends with the assignment of the variable to itself, and
    so is `w.fill(x)`; other in-place methods, and stores to elements, are durable after `persist()`, the shelf's
    `persist()` or `close()`, `s.w = s.w`, or the end of a `with` block.

    Copies (`clone`, `copy.copy`, `copy.deepcopy`, `pickle`, `torch.save`) are plain and own their memory. Gradients are
    in DRAM, and not kept. `requires_grad_()` holds for this object, as long as the shelf is open; what a tensor had
    when it was assigned is remembered, unless it was the result of recorded operations.

    A tensor cannot be read-only. One of a shelf that was opened with mode='r', of a sealed variable, or in a container,
    has private pages: what is stored to it stays in this process and is gone with it, and `persist()` raises ReadOnlyError.

    The tensor stays valid whatever happens to its variable or shelf. Other memory cannot be given to it
    (`w.data = x`, `w.set_(x)`), nor another shape to the variable itself (`w.t_()`): assign to the variable.
    """

    _block: Any  # of the variable
    _memory: Any  # what the elements are in: the block, or a private copy of its pages
    _start: int  # address of that
    _variable: bool  # all of it, as the shelf gave it

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for other in types:
            if not issubclass(other, shelved_torch_tensor) and other is not torch.Tensor:
                return NotImplemented  # its business
        if func in _FIXED and args and isinstance(args[0], shelved_torch_tensor):
            _check_fixed(func, args)
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                return _dressed(result, args, kwargs)
            if type(result) in (tuple, list):
                return type(result)(
                    _dressed(one, args, kwargs) if isinstance(one, torch.Tensor) else one for one in result
                )
        return result

    @property
    def name(self) -> str:
        """Name of the variable when it was opened."""
        return str(self._block.name)

    @property
    def addr(self) -> int:
        """Address of the first element in this process, valid while the tensor lives; as `data_ptr()`. (Called, it is
        torch.Tensor.addr, the sum with an outer product.)"""
        address = _Address(self.data_ptr())
        address._tensor = self
        return address

    def persist(self) -> None:
        """Makes all stores to the elements of this tensor (or view) durable."""
        self._persist(self)

    def persist_offset(self, offset: SupportsIndex, length: SupportsIndex) -> None:
        """Makes stores to `length` elements from element `offset`, counted in memory order, durable."""
        first, count = operator.index(offset), operator.index(length)
        if first < 0 or count < 0 or first + count > self.numel():
            raise IndexError(f"persist_offset({first}, {count}) reaches outside the {self.numel()} elements")
        if _order(self.shape, self.stride()) != self.stride():
            raise ValueError("persist_offset() needs a tensor without gaps; use persist() of this view")
        self._check_writable()
        if count:
            size = self.element_size()
            self._block.persist_elements(self.data_ptr() + first * size, (count,), (size,), size)

    def asndarray(self) -> Any:
        """The same memory as a plain `numpy.ndarray`; what `numpy()` refuses, too: elements that NumPy does not know
        are unsigned integers of their width."""
        size = self.element_size()
        dtype = _tensor.numpy_dtype(_TEXT[self.dtype], size)
        if self.numel() == 0:
            return np.ndarray(tuple(self.shape), dtype)
        strides = tuple(step * size for step in self.stride())
        return np.ndarray(tuple(self.shape), dtype, self._memory, self.data_ptr() - self._start, strides)

    def fill(self, value: Any) -> None:
        """`fill_(value)`, durable when it returns."""
        with torch.no_grad():
            self.fill_(value)
        self.persist()

    def __format__(self, spec: str) -> str:
        # PyTorch formats the number only of its own class.
        with torch._C.DisableTorchFunctionSubclass():
            plain = self.detach().as_subclass(torch.Tensor) if self.dim() == 0 else self
            return str(torch.Tensor.__format__(plain, spec))

    def set_(self, *args: Any, **kwargs: Any) -> Any:
        # The one of these methods that PyTorch does not announce to __torch_function__.
        raise _other_memory(self)

    # --- copies are plain ---

    def _copied(self) -> Any:
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
            plain = self.detach().clone()
        return plain.requires_grad_(self.requires_grad)

    def __copy__(self) -> Any:
        return self._copied()

    def __deepcopy__(self, memo: Any) -> Any:
        if not self.is_leaf:
            raise RuntimeError("only tensors that are leaves of the graph can be deep-copied: use detach() first")
        if id(self) in memo:
            return memo[id(self)]
        copy = self._copied()
        if getattr(self, "_is_param", False):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        if self.grad is not None:
            copy.grad = self.grad.detach().clone()
        memo[id(self)] = copy
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Not the storage itself: sending it to another process would put its memory elsewhere.
        copy = self._copied()
        if getattr(self, "_is_param", False):
            copy = torch.nn.Parameter(copy, self.requires_grad)
        return copy.__reduce_ex__(protocol)

    # --- internal ---

    def _settle(self) -> None:
        """The variable is assigned to itself. Called by the extension, too."""
        self._persist(self)

    def _shares(self, other: Any) -> bool:
        return self._start != 0 and _storage(other) == self._start

    def _check_writable(self) -> None:
        if not self._block.writable:
            raise made_here(
                ReadOnlyError,
                f"tensor {self.name!r}: its shelf is open for reading, the variable is sealed, or it is in a container: what is "
                "stored to the tensor stays in this process",
            )

    def _persist(self, view: Any) -> None:
        """Makes the elements of `view`, which has the same memory, durable."""
        self._check_writable()
        if view.numel() != 0:
            size = view.element_size()
            strides = tuple(step * size for step in view.stride())
            self._block.persist_elements(view.data_ptr(), tuple(view.shape), strides, size)


_Tensor = torch.Tensor
# Methods that would give a tensor other memory,
_MEMORY = {_Tensor.data.__set__, _Tensor.share_memory_}
# or another shape.
_SHAPE = {
    getattr(_Tensor, name)
    for name in (
        "resize_", "resize_as_", "t_", "transpose_", "swapaxes_", "swapdims_", "squeeze_", "unsqueeze_", "as_strided_",
        "resize", "resize_as",
    )
    if hasattr(_Tensor, name)
}  # fmt: skip
_FIXED = _MEMORY | _SHAPE


def _other_memory(tensor: Any) -> RuntimeError:
    return RuntimeError(
        f"tensor {tensor.name!r} is the shelf's memory, and cannot be given other: copy into it, w.copy_(value), or "
        "assign to the variable; a model that is to be converted is copied from the shelf first, copy.deepcopy(model)"
    )


def _check_fixed(func: Any, args: Any) -> None:
    tensor = args[0]
    if func in _MEMORY:
        if func == _Tensor.data.__set__ and len(args) == 2 and _same(tensor, args[1]):
            return
        raise _other_memory(tensor)
    if tensor._variable:
        raise RuntimeError(
            f"the shape of {tensor.name!r} is stored with it: change that of a view (w.view(...), w.t()), or assign a "
            "changed copy to the variable"
        )


def _same(one: Any, other: Any) -> bool:
    with torch._C.DisableTorchFunctionSubclass():
        return bool(
            isinstance(other, torch.Tensor)
            and other.device.type == "cpu"
            and one.data_ptr() == other.data_ptr()
            and one.dtype == other.dtype
            and one.shape == other.shape
            and one.stride() == other.stride()
        )


def _storage(value: Any) -> int:
    """Address of a tensor's storage; 0 where it has none that could be ours."""
    try:
        with torch._C.DisableTorchFunctionSubclass():
            return int(value.untyped_storage().data_ptr()) if value.device.type == "cpu" else 0
    except (RuntimeError, NotImplementedError):  # sparse ones, those of functorch
        return 0


def _dressed(result: Any, args: Any, kwargs: Any) -> Any:
    """A result is plain, unless it shows the memory of one of the arguments."""
    if type(result) is not torch.Tensor:
        return result
    try:
        start = result.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # sparse ones, those of functorch
        return result
    if start == 0:
        return result
    for argument in (*args, *(kwargs or {}).values()):
        for one in argument if type(argument) in (tuple, list) else (argument,):
            if isinstance(one, shelved_torch_tensor) and one._start == start:
                view = result.as_subclass(shelved_torch_tensor)
                view._block, view._memory, view._start, view._variable = one._block, one._memory, start, False
                return view
    return result


def from_block(block: _pymm.Block) -> Any:
    """The tensor over a block that holds one."""
    memory: Any = block if block.writable else _pymm.private_memory(block)
    try:
        tensor = _over(block, memory, block.dtype, block.itemsize, block.shape, block.strides, block.size)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        if isinstance(error, Error):
            raise
        raise CorruptError(
            f"tensor {block.name!r} of shape {block.shape} and elements {block.dtype!r} cannot be shown: {error}"
        ) from error
    tensor._variable = True
    return tensor


def part(block: _pymm.Block, memory: Any, text: str, itemsize: int, shape: Any, strides: Any) -> Any:
    """The tensor over some of a block's bytes, which are read-only: `memory` is a private copy of them. ValueError and
    what PyTorch raises where it cannot be."""
    return _over(block, memory, text, itemsize, shape, strides, len(memory))


def _over(block: _pymm.Block, memory: Any, text: str, itemsize: int, shape: Any, strides: Any, nbytes: int) -> Any:
    element, grad, rest = text.partition(_tensor.GRAD)
    dtype = _DTYPE.get(element)
    if dtype is None or rest:
        raise ValueError(f"this PyTorch ({torch.__version__}) has no such elements")
    size = dtype.itemsize
    if size != itemsize:
        raise ValueError(f"they have {size} bytes, the catalogue says {itemsize}")
    steps = [step // size for step in strides]
    if [step * size for step in steps] != list(strides):
        raise ValueError(f"strides {strides} are no multiples of {size} bytes")
    if nbytes == 0:
        plain = torch.empty(shape, dtype=dtype, device="cpu")
    else:
        plain = torch.frombuffer(memory, dtype=dtype).as_strided(shape, steps)
    tensor = torch.Tensor._make_subclass(shelved_torch_tensor, plain, bool(grad))
    tensor._block, tensor._memory, tensor._variable = block, memory, False
    tensor._start = _storage(plain)
    return tensor


def is_whole(value: Any, block: _pymm.Block) -> bool:
    """Whether a tensor over the memory of `block` shows it as the variable does."""
    with torch._C.DisableTorchFunctionSubclass():
        size = value.element_size()
        return bool(
            tuple(value.shape) == block.shape
            and _TEXT.get(value.dtype) == block.dtype.partition(_tensor.GRAD)[0]
            and not value.is_conj()
            and not value.is_neg()
            and (
                block.size == 0
                or (
                    value.storage_offset() == 0
                    and all(
                        extent == 1 or step * size == stored
                        for extent, step, stored in zip(block.shape, value.stride(), block.strides)
                    )
                )
            )
        )


# --- storing ------------------------------------------------------------------------------------


def _text(dtype: Any, name: str) -> str:
    text = _TEXT.get(dtype)
    if text is None:
        raise TypeError(f"{name!r}: tensors of {dtype} are not supported: convert it, value.to(torch.float32)")
    return text


def _order(shape: Any, strides: Any) -> tuple[int, ...]:
    """The strides of a tensor without gaps, with dimensions in the order of these; PyTorch's own rule."""
    shadow = torch.empty_strided(tuple(shape), tuple(strides), dtype=torch.uint8, device="meta")
    return tuple(torch.empty_like(shadow, memory_format=torch.preserve_format).stride())


def _refuse(name: str, value: Any) -> None:
    problem = _problem(value)
    if problem is not None:
        raise TypeError(f"{name!r}: {problem}")


def _problem(value: Any) -> Optional[str]:
    """Why a tensor cannot be stored, and what to do."""
    advice = None
    if type(value) not in (torch.Tensor, torch.nn.Parameter, shelved_torch_tensor):
        advice = "what the subclass adds would be lost: assign value.as_subclass(torch.Tensor)"
    elif value.is_quantized:
        advice = "it is quantized: assign value.dequantize(), or value.int_repr() and the scale"
    elif value.is_nested:
        advice = "it is nested: assign its parts, or value.to_padded_tensor(0)"
    elif value.is_meta:
        advice = "it is on the device 'meta' and has no elements: assign pymm.torch_tensor(shape)"
    elif value.layout is not torch.strided:
        advice = f"its layout is {value.layout}: assign value.to_dense(), or its indices and values"
    if advice is None:
        return None
    cls = type(value)
    return f"this {cls.__module__}.{cls.__qualname__} is not supported: {advice}"


def store(target: Any, handle: _pymm.Handle, name: str, value: Any) -> None:
    """Puts a tensor, or a recipe of one."""
    grad: Optional[bool] = None
    if isinstance(value, _tensor.torch_tensor):
        grad = value.requires_grad
        if value.value is None:
            text = _text(value.dtype, name) + (_tensor.GRAD if grad else "")
            size = value.dtype.itemsize
            strides = _array._strides(value.shape, size, value.order)
            target.put_stage(name, handle.stage_tensor(text, size, value.shape, strides, True))
            return
        value = value.value
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        _refuse(name, value)
        text = _text(value.dtype, name)
        if value.requires_grad and value.is_leaf if grad is None else grad:
            text += _tensor.GRAD
        _store_elements(target, handle, name, value.detach(), text)


def _store_elements(target: Any, handle: _pymm.Handle, name: str, value: Any, text: str) -> None:
    value = value.cpu().resolve_conj().resolve_neg()
    shape, size = tuple(value.shape), value.element_size()
    if value.numel() == 0:
        target.put_tensor(name, b"", text, size, shape, _array._strides(shape, size, "C"))
        return
    address = value.data_ptr()
    if address == 0:
        raise TypeError(f"{name!r}: this tensor has no memory of its own: assign value.clone()")
    if value.is_contiguous():
        # Whatever stride a dimension of one element has.
        order, strides, dense = None, _array._strides(shape, size, "C"), True
    else:
        if max(step * size for step in value.stride()) >= _array.MOST:
            value = value.clone(memory_format=torch.contiguous_format)
            return _store_elements(target, handle, name, value, text)
        order = _order(shape, value.stride())
        strides, dense = tuple(step * size for step in order), order == value.stride()
    if dense:
        memory = (ctypes.c_char * (value.numel() * size)).from_address(address)
        target.put_tensor(name, memory, text, size, shape, strides)
        return
    # With gaps, or elements in several places: straight into the shelf's memory.
    stage = handle.stage_tensor(text, size, shape, strides, False)
    torch.frombuffer(stage.memory(), dtype=value.dtype).as_strided(shape, order).copy_(value)
    target.put_stage(name, stage)


def elements(value: Any) -> _tensor.Elements:
    """The bytes of a tensor that is to be stored as a part of something; TypeError where it cannot be."""
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        problem = _problem(value)
        if problem is None and value.dtype not in _TEXT:
            problem = f"tensors of {value.dtype} are not supported: convert it, value.to(torch.float32)"
        if problem is not None:
            raise TypeError(problem)
        text = _TEXT[value.dtype] + (_tensor.GRAD if value.requires_grad and value.is_leaf else "")
        plain = value.detach().cpu().resolve_conj().resolve_neg()
        shape, size = tuple(plain.shape), plain.element_size()
        if plain.numel() == 0:
            return _tensor.Elements(text, size, shape, _array._strides(shape, size, "C"), b"", None)
        if plain.data_ptr() == 0:
            raise TypeError("this tensor has no memory of its own: assign value.clone()")
        if not plain.is_contiguous() and _order(shape, plain.stride()) != plain.stride():
            plain = plain.clone(memory_format=torch.contiguous_format)
        if plain.is_contiguous():
            strides = _array._strides(shape, size, "C")
        else:
            strides = tuple(step * size for step in plain.stride())
        memory = (ctypes.c_char * (plain.numel() * size)).from_address(plain.data_ptr())
        return _tensor.Elements(text, size, shape, strides, memory, plain)


def copied(value: Any) -> Any:
    """A plain copy, a leaf that asks for gradients where this one does."""
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        plain = value.detach().clone()
    return plain.requires_grad_(value.requires_grad and value.is_leaf)


def placed(value: Any, map_location: Any, copy: bool) -> Any:
    """The tensor where `map_location` says. All tensors on a shelf are the CPU's: that is the location that is mapped."""
    if isinstance(map_location, dict):
        map_location = map_location.get("cpu")
    grad = value.requires_grad and value.is_leaf
    if callable(map_location) and not isinstance(map_location, torch.device):
        with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
            plain = value.detach().clone() if copy else value.detach()
            storage = plain.untyped_storage()
            found = map_location(storage, "cpu")
            if found is None or found is storage:
                return plain.requires_grad_(grad) if copy else value
            found = getattr(found, "_untyped_storage", found)
            if not isinstance(found, torch.UntypedStorage):
                raise TypeError(f"map_location gave a {type(found).__name__}: a storage is expected, or None")
            moved = torch.empty(0, dtype=plain.dtype, device=found.device)
            moved.set_(found, plain.storage_offset(), plain.size(), plain.stride())
        return moved.requires_grad_(grad)
    device = torch.device("cpu" if map_location is None else map_location)
    if device.type == "cpu":
        return copied(value) if copy else value
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        moved = value.detach().to(device)
    return moved.requires_grad_(grad)


# --- recipes ------------------------------------------------------------------------------------


def _torch_dtype(dtype: Any) -> Any:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    element = np.dtype(dtype)
    found = _DTYPE.get(element.str)
    if found is None:
        raise TypeError(f"PyTorch has no elements like NumPy's {element}")
    return found


def recipe(data: Any, dtype: Any, strides: Any, order: str, requires_grad: Optional[bool]) -> tuple[Any, Any, Any]:
    """(tensor or None for zeros, shape, dtype) of a recipe."""
    kind = _torch_dtype(dtype)
    value: Any = None
    if type(data) is tuple or isinstance(data, torch.Size):
        shape = tuple(operator.index(extent) for extent in data)
        if any(extent < 0 for extent in shape):
            raise ValueError("negative dimensions are not allowed")
        kind = torch.get_default_dtype() if kind is None else kind
        _text(kind, "recipe")
        if strides is not None:
            given = tuple(strides)
            if given != tuple(step // kind.itemsize for step in _array._strides(shape, kind.itemsize, order)):
                raise ValueError("a tensor on a shelf has no gaps: leave strides out, and use order='C' or 'F'")
    else:
        if strides is not None:
            raise ValueError("data keeps its strides: leave them out")
        value = data if isinstance(data, torch.Tensor) else _tensor_of(data, kind)
        if kind is not None and value.dtype != kind:
            value = value.detach().to(kind)
        shape, kind = tuple(value.shape), value.dtype
    if requires_grad:
        # PyTorch's own error where such elements cannot.
        torch.empty(0, dtype=kind, requires_grad=True)
    return value, shape, kind


def _tensor_of(data: Any, kind: Any) -> Any:
    if not isinstance(data, (np.ndarray, np.generic)):
        return torch.tensor(data, dtype=kind)
    # Over the array's bytes, not by PyTorch's bridge to NumPy: that warns of read-only arrays, and is not built for
    # every version.
    array = np.asarray(data)
    shape = array.shape
    dtype = _torch_dtype(array.dtype)
    if array.size == 0:
        return torch.empty(shape, dtype=dtype)
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if not flat.flags.writeable:
        flat = flat.copy()
    return torch.frombuffer(flat, dtype=dtype).reshape(shape)
