"""Putting Python values on a shelf, directly or as part of a batch."""

from __future__ import annotations

from typing import Any, Union

import numpy as np

from . import _append, _buffer, _dtype, _linked_list, _nest, _pickled, _pymm, _tensor, _values
from ._array import ndarray, shelved_ndarray
from ._constructors import Constructor
from ._dlpack import dlpack_array
from ._errors import InvalidArgument

Target = Union[_pymm.Handle, _pymm.Batch]

# shelf.supported_types(). Those of IBM's PyMM first, and as it named them.
SUPPORTED = (
    "pymm.ndarray",
    "pymm.torch_tensor",
    "pymm.dlpack_array",
    "pymm.string",
    "pymm.float_number",
    "pymm.integer_number",
    "pymm.bytes",
    "pymm.linked_list",
    "pymm.pickled",
    "numpy.ndarray",
    "numpy.memmap",
    "numpy.generic",
    "torch.Tensor",
    "memoryview",
    "bytearray",
    "array.array",
    "str",
    "bytes",
    "int",
    "float",
    "complex",
    "bool",
    "None",
    "list",
    "tuple",
    "dict",
    "collections.OrderedDict",
    "pandas.DataFrame",
    "pandas.Series",
    "pandas.Index",
    "scipy.sparse",
)

# Of a subclass of these, something would be lost: it is not stored, not as an array either.
_VALUES = (str, bytes, int, float, complex)


def check_name(name: Any) -> str:
    """Names are str and can be written as UTF-8; the library checks the rest."""
    if not isinstance(name, str):
        raise TypeError(f"names of variables are str, not {type(name).__name__}")
    if not name.isascii():
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"name {name!r} cannot be stored: {error.reason}") from None
    return name


def store(target: Target, handle: _pymm.Handle, name: str, value: Any, allow_pickle: bool = False) -> None:
    """Puts `value` under `name`. Whatever it raises, nothing has changed."""
    if isinstance(value, np.ndarray):
        _store_array(target, handle, name, value)
    elif isinstance(value, ndarray):
        dtype = value.dtype
        text = _dtype.encode(dtype) + _append.text(value.maxshape)
        stage = handle.stage(text, dtype.itemsize, value.shape, value.order == "F", True)
        target.put_stage(name, stage)
    elif _linked_list.store(target, handle, name, value):
        pass
    elif _nest.is_container(value):
        store_plan(target, handle, name, _values.TREE, _nest.Plan(name, value))
    elif isinstance(value, _pickled.pickled):
        if not allow_pickle:
            raise _pickled.refused_to_store(name)
        store_plan(target, handle, name, _pickled.KIND, _pickled.plan(name, value.value))
    elif isinstance(value, dlpack_array):
        store(target, handle, name, value.value)
    elif isinstance(value, _tensor.torch_tensor) or _tensor.is_tensor(value):
        _tensor.store(target, handle, name, value)
    else:
        encoded = _values.encode(value.value if isinstance(value, Constructor) else value)
        if encoded is None:
            array = None if isinstance(value, _VALUES) else _buffer.array_of(name, value)
            if array is None:
                raise _unsupported(name, value)
            _store_array(target, handle, name, array)
            return
        kind, data, dtype_text, itemsize = encoded
        target.put_value(name, data, kind, dtype_text, itemsize)


def store_plan(target: Target, handle: _pymm.Handle, name: str, kind: int, plan: _nest.Plan) -> None:
    """Puts a tree under `name`, as data of that kind."""
    stage = handle.stage_value(kind, plan.size)
    plan.write(stage)
    target.put_stage(name, stage)


def _store_array(target: Target, handle: _pymm.Handle, name: str, value: np.ndarray[Any, Any]) -> None:
    try:
        _nest.check_array(value)
    except TypeError as error:
        raise TypeError(f"{name!r}: {error}") from None
    dtype = value.dtype
    text = _dtype.encode(dtype)
    flags = value.flags
    if flags.c_contiguous:
        target.put_array(name, value, text, False)
    elif flags.f_contiguous:
        target.put_array(name, value, text, True)
    else:
        # Straight into the shelf's memory, with no copy in between. NumPy leaves padding as it is there.
        stage = handle.stage(text, dtype.itemsize, value.shape, False, dtype.names is not None)
        np.copyto(np.ndarray(value.shape, dtype, stage.memory()), value, casting="no")
        target.put_stage(name, stage)


def _unsupported(name: str, value: Any) -> TypeError:
    return TypeError(f"{name!r}: {_nest.type_name(value)} is not supported: {_nest.advice(value)}")
