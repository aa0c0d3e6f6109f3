"""Transactions: changes in place and by name that become durable together."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from . import _pymm, _tensor, _values
from ._errors import ClosedError, InvalidArgument

if TYPE_CHECKING:
    from ._shelf import shelf


class Transaction:
    """What `shelf.transaction()` gives: a `with` block whose changes become durable together, or not at all.

    >>> with s.transaction('x', s.y[10:20]) as tx:
    ...     s.x += 1                # all of x takes part,
    ...     s.y[12] = 7             # and ten rows of y
    ...     s.step = 8              # names always do
    ...     del s.old
    >>> with s.transaction():       # every array that is open takes part, and those that are opened in the block
    ...     optimizer.step()

    When the block ends, one commit makes all of it durable. When it raises, or after `tx.rollback()`, the shelf and the
    memory of its arrays are as they were. When the process or the machine ends in the block, or in the commit, the next
    that opens the shelf finds either all of it or nothing: who opens it for writing undoes it by himself.

    *In place* means by any way to store to memory: NumPy, PyTorch, `readinto`, threads of either. What is to be undone
    must be known beforehand: name the variables, or give arrays or tensors, of which a view stands for the part that it shows.
    Their bytes are copied to the shelf when the block begins, so it takes time and free space as an assignment of them
    does. For a few rows of a large array give those. Stores to arrays that take no part are as durable as ever, and stay
    when all else is undone.

    *Names*: assignments, `del`, renames, batches and checkpoints of this thread belong to the block. This process sees
    them at once, others behind the commit. Other threads go on by themselves; BusyError where they change what takes part,
    or begin a transaction of their own. `seal` waits for the end (InvalidArgument).

    A block inside another belongs to it. When the inner one raises, the outer one can only be undone: it raises
    InvalidArgument at its end, unless something else does.
    """

    __slots__ = ("_shelf", "_variables", "_changes")

    def __init__(self, owner: shelf, variables: Optional[tuple[Any, ...]]) -> None:
        self._shelf = owner
        self._variables = variables
        self._changes: Optional[_pymm.Changes] = None

    def __enter__(self) -> Transaction:
        if self._changes is not None:
            raise InvalidArgument("the transaction has begun already: make another with shelf.transaction()")
        self._changes = changes = self._shelf._state.handle.transaction()
        try:
            if self._variables:
                for variable in self._variables:
                    self.add(variable)
            elif self._variables is not None:
                changes.add_views()
        except BaseException:
            self.rollback()
            raise
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        changes = self._begun()
        if not changes.is_active:
            return  # rolled back in the block
        if kind is not None:
            self._undo()
            return
        try:
            changes.commit()
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        try:
            self.rollback()
        except ClosedError:
            pass  # closing the shelf did it

    def add(self, variable: Any) -> None:
        """One more variable takes part from now on: a name, or an array or tensor of this shelf, or a part of one.

        Before anything is stored to it. KeyError for a name that there is not, NoSpaceError when there is no room for
        a copy; then the block goes on without it.
        """
        changes = self._begun()
        if isinstance(variable, str) and not isinstance(variable, _values.ShelvedValue):
            if variable not in self._shelf:
                raise KeyError(variable)
            changes.add_name(variable)
        elif isinstance(variable, np.ndarray):
            block = _pymm.block_of(variable)
            if block is None:
                raise InvalidArgument("transaction: this array is not on a shelf: give a variable's name, or an array of it")
            interface = variable.__array_interface__
            self._add(changes, block, interface["data"][0], variable.shape, variable.strides, variable.itemsize)
        elif _tensor.is_shelved(variable):
            block = _tensor.block_of(variable)
            if not block.writable:
                return  # on private pages, where nothing that is stored reaches the shelf
            size = variable.element_size()
            strides = tuple(stride * size for stride in variable.stride())
            self._add(changes, block, variable.data_ptr(), tuple(variable.shape), strides, size)
        elif not isinstance(variable, _values.ShelvedValue):  # which never changes in place
            raise TypeError(
                f"transaction: give names, or arrays and tensors of this shelf, not {type(variable).__name__}"
            )

    def rollback(self) -> None:
        """Restores the shelf and the memory of its arrays as they were when the block began. What comes after that
        in the block is no part of a transaction. InvalidArgument when it has ended already."""
        changes = self._begun()
        owner = self._shelf
        with owner._changing():
            try:
                changes.rollback()
            finally:
                # Opened variables may be of values that never came to be.
                owner._forget_all()

    def _begun(self) -> _pymm.Changes:
        if self._changes is None:
            raise InvalidArgument("the transaction has not begun: it is a `with` block")
        return self._changes

    @staticmethod
    def _add(
        changes: _pymm.Changes,
        block: _pymm.Block,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        itemsize: int,
    ) -> None:
        if 0 in shape:
            return
        steps = [(count - 1) * stride for count, stride in zip(shape, strides)]
        first = address - block.address + sum(step for step in steps if step < 0)
        end = address - block.address + sum(step for step in steps if step > 0) + itemsize
        changes.add_block(block, first, end - first)


def begin(owner: shelf, variables: Any) -> Transaction:
    """For shelf.tx_begin(); None: all."""
    if variables is None:
        chosen: Optional[tuple[Any, ...]] = ()
    elif isinstance(variables, (str, np.ndarray)) or _tensor.is_tensor(variables):
        chosen = (variables,)
    else:
        chosen = tuple(variables) or None
    one = Transaction(owner, chosen)
    one.__enter__()
    _stack(owner).append(one)
    return one


def end(owner: shelf) -> None:
    """For shelf.tx_end()."""
    stack = _stack(owner)
    if not stack:
        raise InvalidArgument("tx_end: this thread has no transaction: shelf.tx_begin() begins one")
    stack.pop().__exit__(None, None, None)


def _stack(owner: shelf) -> list[Transaction]:
    begun = owner._state.begun
    if not hasattr(begun, "stack"):
        begun.stack = []
    stack: list[Transaction] = begun.stack
    return stack
