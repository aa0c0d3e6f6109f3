"""Results that are made on the shelf, and need no copy to stay there."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional

from . import _pymm
from ._errors import InvalidArgument

if TYPE_CHECKING:
    from ._shelf import shelf


class Arena:
    """What `shelf.arena()` gives: a `with` block in which NumPy makes its new arrays in the shelf's free space.

    >>> with s.arena():
    ...     s.x = s.a @ s.b    # written once, where it stays

    A result that is assigned to a variable at once, and that nobody else refers to, becomes that variable as it
    is: no copy, one commit. What has a name already (`b = s.a @ s.b; s.x = b`) is copied, as always, so that
    `b` and `s.x` stay two arrays. An array that is not assigned gives its space back when it goes; after a
    crash all of it is free.

    On persistent memory and in tmpfs this saves a large result half of the time or more. On a disk it takes longer, as pages that
    are stored to one by one are written more slowly than a copy in one piece; there an arena is for results that
    are larger than DRAM.

    Arrays of less than 4 KiB, and those that the shelf has no room for, are made where they are made outside.
    As NumPy has it (NEP 49), this is a matter of the present context (`contextvars`): other threads enter an arena
    of their own. An array that outlives the block is on the shelf until it goes, and with it the lock against other
    writers. A forked child shares the memory of such arrays with its parent.
    """

    __slots__ = ("_shelf", "_before")

    def __init__(self, owner: shelf) -> None:
        self._shelf = owner
        self._before: Any = None

    def __enter__(self) -> Arena:
        if self._before is not None:
            raise InvalidArgument("the arena has been entered already: make another with shelf.arena()")
        self._before = self._shelf._state.handle.enter_arena()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        before, self._before = self._before, None
        if before is None:
            raise InvalidArgument("the arena has not been entered")
        _pymm.leave_arena(before)
