"""Python variables that live in persistent memory, and survive crashes there.

>>> import numpy as np, pymm
>>> s = pymm.shelf('myShelf', size_mb=1024, pmem_path='/mnt/pmem0')
>>> s.x = pymm.ndarray((1000, 1000), dtype=np.int64)   # zero-filled, directly on the shelf
>>> s.x[1] += 9                                        # in place, durable when it returns
>>> s.y = np.arange(10)                                # copied in, atomically replaced

What is durable when:

===========================================================  =====================================
assignment, `del`, `erase`, `rename`, `append`, `save`, the  when it returns, atomically
end of `batch`; every change of a `linked_list`
in-place operators (views, elements and fields included),    when it returns
`out=` and `numpy.copyto` with an array of a shelf, methods
that work in place (`fill`, `sort`, `put` ...); of tensors
`s.w += 1` and `fill`
element stores (`s.x[0] = 1`), `readinto`, `numpy.random`,   after `persist()`, `persist_offset()`,
and what else writes past NumPy's protocols: plain views     `close()`, `s.x = s.x`, or the end of a
(`asndarray()`), `memoryview`, DLPack, extensions; PyTorch's `with` block
methods in place (`add_`, an optimizer's `step`)
===========================================================  =====================================

Shelves hold NumPy arrays of every dtype without Python objects, NumPy scalars, `str`, `bytes`, `int`,
`float`, `complex`, `bool` and `None`, and `list`, `tuple`, `dict` and `collections.OrderedDict` of all these,
nested as you like. These containers come back read-only, as sequences and mappings: an element is read where it is
looked at, however many there are, and arrays in them are views without a copy. `s.x.plain()` is a plain copy to
change and to assign again; `json.dumps(s.x, default=lambda x: x.plain())` works. `pymm.string`, `bytes`,
`float_number` and `integer_number` convert to these and say which is meant, as in IBM's PyMM.

Tables of pandas (`DataFrame`, `Series`, `Index`) and SciPy's sparse matrices are stored part by part, and come back over the
shelf's memory; each access makes one of its own. Nothing is pickled, but `pymm.pickled(obj)` on a shelf that was opened with
`allow_pickle=True`.

`s.x = pymm.ndarray((0, 8), maxshape=(None, 8))` can be appended to: `s.x.append(rows)` costs what the rows do.
`pymm.linked_list` is the list that can be changed on the shelf: `s.l.append(1)` is durable when it returns.

PyTorch's tensors come back as tensors over the shelf's memory, in containers on private pages of it: `s.save()` takes a
`state_dict()` as it is. PyTorch is imported when one is wanted, not before.

Objects with a buffer (`memoryview`, `bytearray`, `array.array`, ctypes arrays, `mmap`) are stored as arrays of their
elements and shape, and come back as such; for a byte string say `bytes(...)`.
"""

from ._arena import Arena
from ._array import ndarray
from ._batch import Batch
from ._check import CheckReport, Finding, fsck
from ._checkpoints import Checkpoint
from ._constructors import bytes as bytes
from ._constructors import float_number, integer_number, string
from ._demo import demo
from ._dlpack import dlpack_array
from ._linked_list import linked_list
from ._errors import (
    BusyError,
    ClosedError,
    CorruptError,
    Error,
    ExistsError,
    InvalidArgument,
    IoError,
    NoSpaceError,
    NotFound,
    OutOfRange,
    PickleRefused,
    PinnedError,
    ReadOnlyError,
    VersionError,
)
from . import io as io
from . import pymmcore
from ._pickled import pickled
from ._pymm import version as __version__
from ._shelf import shelf
from ._tensor import torch_tensor
from ._transaction import Transaction
from ._transient import disable_transient_memory, enable_transient_memory

# Without `bytes`: `from pymm import *` leaves Python's own alone.
__all__ = [
    "Arena",
    "Batch",
    "BusyError",
    "CheckReport",
    "Checkpoint",
    "ClosedError",
    "CorruptError",
    "Error",
    "ExistsError",
    "Finding",
    "InvalidArgument",
    "IoError",
    "NoSpaceError",
    "NotFound",
    "OutOfRange",
    "PickleRefused",
    "PinnedError",
    "ReadOnlyError",
    "Transaction",
    "VersionError",
    "__version__",
    "demo",
    "disable_transient_memory",
    "enable_transient_memory",
    "dlpack_array",
    "float_number",
    "fsck",
    "integer_number",
    "linked_list",
    "ndarray",
    "pickled",
    "pymmcore",
    "shelf",
    "string",
    "torch_tensor",
]
