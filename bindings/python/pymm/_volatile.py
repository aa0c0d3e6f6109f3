"""Shelves without a place: the backend 'mapstore'."""

from __future__ import annotations

import os

from . import _pymm


def create(name: str, capacity: int, checksum: bool) -> _pymm.Handle:
    """A new shelf whose files have no names. The library reaches them through what it has open, so their
    memory is freed with its last view, however the process ends."""
    # Only those who want such a shelf wait for these.
    import shutil
    import tempfile

    memory = "/dev/shm"
    usable = os.path.isdir(memory) and os.access(memory, os.W_OK | os.X_OK)
    directory = tempfile.mkdtemp(prefix="pymm-volatile-", dir=memory if usable else None)
    try:
        return _pymm.Handle.create(directory, name, capacity, False, checksum)
    finally:
        shutil.rmtree(directory)
