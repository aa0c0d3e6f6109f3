"""Several changes that become durable together or not at all."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional

from . import _store
from ._errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from ._shelf import shelf


class Batch:
    """What `shelf.batch()` gives: a `with` block that collects changes and commits them at its end.

    >>> with s.batch() as b:
    ...     b['weights'] = w
    ...     b['step'] = 7
    ...     del b['old']
    ...     b.rename('new', 'current')

    Values are copied to the shelf at once, but nothing is visible before the block ends. When the block
    raises, or when something that is erased or renamed does not exist, nothing at all has happened.
    """

    __slots__ = ("_shelf", "_batch", "_names")

    def __init__(self, owner: shelf) -> None:
        self._shelf = owner
        self._batch = owner._state.handle.batch()
        self._names: list[str] = []

    def __setitem__(self, name: str, value: Any) -> None:
        state = self._shelf._state
        _store.store(self._open(), state.handle, _store.check_name(name), value, state.allow_pickle)
        self._names.append(name)

    def __delitem__(self, name: str) -> None:
        self._open().erase(_store.check_name(name))
        self._names.append(name)

    def rename(self, old: str, new: str) -> None:
        """Renames a variable; replaces `new` if it exists."""
        self._open().rename(_store.check_name(old), _store.check_name(new))
        self._names += [old, new]

    def __len__(self) -> int:
        return 0 if self._batch is None else len(self._batch)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__slots__:
            return object.__setattr__(self, name, value)
        raise AttributeError(f"a batch takes items: b[{name!r}] = ...", name=name, obj=self)

    def __getitem__(self, name: str) -> Any:
        raise TypeError(f"a batch only collects changes: read the variable from the shelf, s[{name!r}]")

    def _open(self) -> Any:
        if self._batch is None:
            raise InvalidArgument("the batch has ended: start another with shelf.batch()")
        return self._batch

    def __enter__(self) -> Batch:
        self._open()
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        batch, self._batch = self._open(), None
        if kind is not None:
            return
        with self._shelf._changing(*self._names):
            try:
                batch.commit()
            except NotFound as error:
                raise KeyError(error.strerror) from None
