"""What an open shelf keeps beside its variables."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from . import _checkpoints, _pymm

if TYPE_CHECKING:
    from ._shelf import shelf


class State:
    """What the attribute machinery must not mistake for a variable."""

    __slots__ = ("handle", "path", "place", "saver", "allow_pickle", "begun")

    def __init__(self, handle: _pymm.Handle, path: str, place: str) -> None:
        self.handle = handle
        self.path = path
        self.place = place  # for people
        self.saver = _checkpoints.Saver()
        self.begun = threading.local()  # of _transaction.begin()
        self.allow_pickle = False


class Change:
    """Variables change inside the block: what other threads load meanwhile is not kept."""

    __slots__ = ("_shelf", "_names")

    def __init__(self, one: shelf, names: tuple[str, ...]) -> None:
        self._shelf = one
        self._names = names

    def __enter__(self) -> None:
        self._shelf._begin()

    def __exit__(self, *error: object) -> None:
        # Also when it failed: what was kept is loaded anew at the next access.
        self._shelf._end(*self._names)
