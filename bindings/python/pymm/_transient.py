"""Arrays that are not on a shelf, and need not fit in DRAM either."""

from __future__ import annotations

import os
from typing import Optional

from . import _pymm
from ._errors import InvalidArgument
from ._paths import PathLike, default_path, resolve


def enable_transient_memory(
    pmem_file: Optional[PathLike] = None,
    pmem_file_size_gb: float = 0,
    backing_directory: Optional[PathLike] = None,
) -> None:
    """Lets large NumPy arrays (64 KiB and more) live in files from now on, so that temporaries can be larger than DRAM.

    They are ordinary arrays, and gone with the process: the files have no names, and a crash leaves nothing behind.

    Parameters
    ----------
    pmem_file
        Memory comes from one file of `pmem_file_size_gb` GiB, beside which this path would be. It keeps the
        storage that it took until transient memory is disabled.
    pmem_file_size_gb
        Its size, in GiB.
    backing_directory
        Where memory comes from when there is no `pmem_file`, or it is full. Storage is given back with each array.
        With neither of them, it is the directory that shelves are in by default.

    Where no file has room, NumPy raises MemoryError. Called again, it begins anew with other files. Setting an
    allocator is a matter of the present context (`contextvars`), as NumPy has it (NEP 49): another thread calls
    this itself. Arrays that grow from less than 64 KiB (`numpy.fromiter`) stay in DRAM. A forked child keeps the arrays
    as copies of its own, and makes new ones in DRAM.

    FileNotFoundError where there is no such directory; NoSpaceError or IoError (OSErrors both) where the file
    cannot be made; InvalidArgument (a ValueError) for a size that is none.
    """
    files: list[tuple[str, int, bool]] = []
    if pmem_file is not None:
        if not 0 < pmem_file_size_gb < 1 << 30:
            raise InvalidArgument(f"pmem_file_size_gb={pmem_file_size_gb}: give the size of {str(pmem_file)!r} in GiB")
        where = resolve(pmem_file)
        directory = where if os.path.isdir(where) else os.path.dirname(where) or os.curdir
        files.append((directory, int(pmem_file_size_gb * (1 << 30)), False))
    elif pmem_file_size_gb:
        raise InvalidArgument(f"pmem_file_size_gb={pmem_file_size_gb} without a pmem_file")
    if backing_directory is not None or not files:
        directory = default_path() if backing_directory is None else resolve(backing_directory)
        # A file cannot be larger than what it is on; how much is free is asked at each allocation.
        files.append((directory, _size_of_file_system(directory), True))
    _pymm.enable_transient(files)


def disable_transient_memory() -> None:
    """New arrays are made as before `enable_transient_memory()`; those that are there stay valid. Does nothing
    where it is not enabled."""
    _pymm.disable_transient()


def _size_of_file_system(directory: str) -> int:
    stat = os.statvfs(directory)
    return stat.f_blocks * stat.f_frsize
