"""Shelves without a place: the backend 'mapstore'."""

from __future__ import annotations

import os

from . import _pymm


def create(name: str, capacity: int, checksum: bool, address: int) -> _pymm.Handle:
    """A new shelf whose files have no names. The library reaches them through what it has open, so their
    memory is freed with its last view, however the process ends."""
    import tempfile  # only those who want such a shelf wait for it

    memory = "/dev/shm"
    usable = os.path.isdir(memory) and os.access(memory, os.W_OK | os.X_OK)
    with tempfile.TemporaryDirectory(prefix="pymm-volatile-", dir=memory if usable else None) as directory:
        return _pymm.Handle.create(directory, name, capacity, False, checksum, address)
