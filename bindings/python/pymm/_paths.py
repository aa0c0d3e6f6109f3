"""Where shelves live when nobody says so."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Union

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
    root = Path(base) if base and os.path.isabs(base) else Path.home() / ".local" / "share"
    path = root / "pymm"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return str(path)


def resolve(pmem_path: PathLike | None) -> str:
    """The namespace's path as text."""
    if pmem_path is None:
        return default_path()
    path = os.fspath(pmem_path)
    if not isinstance(path, str):
        raise TypeError(f"pmem_path is {type(path).__name__}; give a str or a pathlib.Path")
    return path
