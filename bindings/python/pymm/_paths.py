"""Where shelves live when nobody says so."""

from __future__ import annotations

import operator
import os
from typing import Union

from ._errors import InvalidArgument

PathLike = Union[str, "os.PathLike[str]"]


def default_path() -> str:
    """$PYMM_PATH, else /mnt/pmem0 where it exists, else a directory of the user's own (created)."""
    chosen = os.environ.get("PYMM_PATH")
    if chosen:
        return chosen
    if os.path.isdir("/mnt/pmem0"):
        return "/mnt/pmem0"
    base = os.environ.get("XDG_DATA_HOME")
    # The XDG specification has relative paths ignored.
    if not base or not os.path.isabs(base):
        base = os.path.join(os.path.expanduser("~"), ".local", "share")
    path = os.path.join(base, "pymm")
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def resolve(pmem_path: PathLike | None) -> str:
    """The namespace's path as text."""
    if pmem_path is None:
        return default_path()
    path = os.fspath(pmem_path) if isinstance(pmem_path, os.PathLike) else pmem_path
    if not isinstance(path, str):
        raise TypeError(f"pmem_path is {type(path).__name__}; give a str or a pathlib.Path")
    return path


def address_of(load_addr: Union[str, int, None]) -> int:
    """The address that a shelf is to be mapped at; 0: anywhere. The library checks whether that can be."""
    if load_addr is None:
        return 0
    if isinstance(load_addr, str):
        try:
            address = int(load_addr, 0)
        except ValueError:
            raise InvalidArgument(f"load_addr {load_addr!r}: no number; such as '0x900000000'") from None
    else:
        try:
            address = operator.index(load_addr)
        except TypeError:
            raise TypeError(f"load_addr is an int, or text such as '0x900000000', not {type(load_addr).__name__}") from None
    if not 0 <= address < 1 << 64:
        raise InvalidArgument(f"load_addr {load_addr!r}: no address")
    return address
