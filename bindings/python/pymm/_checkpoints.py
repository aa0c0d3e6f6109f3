"""Checkpoints: `shelf.save()` and `shelf.load()`.

A checkpoint is a variable `checkpoints/NAME/NUMBER` that holds one container, a tuple of the saved object. One save
is one commit: it puts the new version and erases those that are not kept.
"""

from __future__ import annotations

import datetime
import operator
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from . import _nest, _pymm, _store
from ._batch import Batch
from ._errors import InvalidArgument

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from ._shelf import shelf

_PREFIX = "checkpoints/"
_DIGITS = 12  # in order as text, as the catalogue has them
_ATTEMPTS = 100  # to open a version that others may erase


class Checkpoint(NamedTuple):
    """One saved version."""

    version: int
    """Counted from 1; the newest has the highest number."""
    saved: datetime.datetime
    """When, in local time."""
    size: int
    """Bytes on the shelf."""
    variable: str
    """Name of the variable that holds it."""


def _directory(name: Any) -> str:
    return f"{_PREFIX}{_store.check_name(name)}/"


def versions(handle: _pymm.Handle, name: str) -> list[int]:
    """Numbers of the versions that there are, ascending."""
    prefix = _directory(name)
    numbers = (text[len(prefix) :] for text in handle.names(prefix, (1 << 64) - 1))
    # Deeper ones are of checkpoints whose names begin with this one.
    return [int(text) for text in numbers if len(text) == _DIGITS and text.isascii() and text.isdigit()]


def _variable(name: str, version: int) -> str:
    return f"{_directory(name)}{version:0{_DIGITS}}"


class Saver:
    """Saves of one shelf: one at a time, also those in the background."""

    __slots__ = ("_lock", "_pool", "_running")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: Optional[ThreadPoolExecutor] = None
        self._running: list[Future[int]] = []

    def save(self, one: shelf, obj: Any, name: str, keep: int) -> int:
        if operator.index(keep) < 1:
            raise InvalidArgument(f"keep={keep}: at least the version that is saved is kept")
        with self._lock:
            known = versions(one._state.handle, name)
            new = known[-1] + 1 if known else 1
            with Batch(one) as batch:
                batch[_variable(name, new)] = (obj,)
                for old in known[: max(0, len(known) - keep + 1)]:
                    del batch[_variable(name, old)]
            return new

    def save_async(self, one: shelf, obj: Any, name: str, keep: int) -> Future[int]:
        # Only those who want it wait for this import.
        from concurrent.futures import ThreadPoolExecutor

        kept = _nest.snapshot(name, obj)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "pymm-save")
        future = self._pool.submit(self.save, one, kept, name, keep)
        self._running = [f for f in self._running if not f.done()] + [future]
        return future

    def finish(self) -> None:
        """Waits for what is under way; whoever asked for it gets its result or error."""
        for future in self._running:
            future.exception()
        self._running.clear()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


def newest(one: shelf, name: str) -> str:
    """The variable that holds the newest version. KeyError when there is none."""
    return _variable(name, _chosen(versions(one._state.handle, name), name, -1))


def opened(one: shelf, name: str, version: int) -> tuple[str, Any]:
    """The variable that holds a version, and its value. KeyError when there is none."""
    for _ in range(_ATTEMPTS):
        variable = _variable(name, _chosen(versions(one._state.handle, name), name, version))
        try:
            # Not one of the variables that are kept open: that would hold the version's space.
            return variable, one._open(variable)
        except KeyError:
            continue  # somebody saved meanwhile, and erased it
    raise KeyError(f"{name}: every version was erased as soon as it was found, {_ATTEMPTS} times")


def _chosen(known: list[int], name: str, version: int) -> int:
    if version < 0 and -version <= len(known):
        return known[version]
    if version in known:
        return version
    if not known:
        raise KeyError(name)
    there = f"{known[0]} to {known[-1]}" if len(known) > 1 else str(known[0])
    raise KeyError(f"{name}: there is no version {version}; there are {len(known)}: {there}")


def listed(one: shelf, name: Optional[str]) -> list[Checkpoint]:
    prefix = _PREFIX if name is None else _directory(name)
    result = []
    for entry in one._state.handle.entries(prefix):
        number = entry["name"].rpartition("/")[2]
        if len(number) == _DIGITS and number.isdigit() and (name is None or entry["name"] == prefix + number):
            saved = datetime.datetime.fromtimestamp(entry["modified"])
            result.append(Checkpoint(int(number), saved, entry["size"], entry["name"]))
    return result
