"""`pymm.linked_list`: the list on a shelf that can be changed."""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any, NoReturn, Optional, SupportsIndex, Union

from . import _containers, _list_nodes, _nest, _pymm, _tree, _values
from ._constructors import Constructor
from ._errors import InvalidArgument, NoSpaceError, NotFound, OutOfRange
from ._list_nodes import KIND as KIND
from ._list_nodes import Item, Part, Plan, Slot, Version

# Up to here a list is written anew as a whole, and garbage does not count.
_SMALL = 1024
_GARBAGE = 8192
# From here on new values that are more than the rest are written anew with it: straight to the shelf, without a copy.
_LARGE = 1 << 20

# One change of a shelf's lists at a time, by the shelf's identity. A forked child has none of the parent's threads.
_locks: dict[int, Any] = {}
os.register_at_fork(after_in_child=_locks.clear)


class shelved_linked_list(_containers.Nested, MutableSequence[Any]):
    """A list on a shelf that can be changed: `s.l = pymm.linked_list([1, 2])`, then `s.l.append(3)`.

    It has the methods of a `list`, but for `sort()` and assignment to slices. Every change is durable and
    atomic when it returns, also `extend()`, `+=`, `reverse()` and `clear()`: after a crash all of it is there, or
    nothing. An element is found in O(log n), and a change writes a kilobyte or so besides the new values.
    Opening a list costs the same however long it is.

    Elements are what lists, tuples and dicts on a shelf can hold, arrays and tensors included; what is put in is copied,
    and what is taken out is read-only: containers as `s.x = [...]` gives them back, arrays as views without a copy, which
    stay valid whatever becomes of the list. To change an element assign it: `s.l[0] = value`.

    The object stands for the variable: it shows what others have changed, other objects of the same
    variable and, with mode='r', the writer's process. Once the variable was replaced, erased or renamed, its methods
    raise InvalidArgument. An index that is out of range is an OutOfRange, an IndexError and a RuntimeError. Slices are
    plain lists, `plain()` is one all the way down. Threads may share it; each call is one step.
    """

    __slots__ = ("_handle", "_name", "_id", "_version", "__weakref__")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, handle: _pymm.Handle, block: _pymm.Block) -> None:
        self._handle = handle
        self._name = block.name
        self._id = block.id
        self._version = Version(block)

    @property
    def name(self) -> str:
        """Name of the variable."""
        return self._name

    def persist(self) -> None:
        """Nothing to do: a change is durable when it returns."""

    def is_on(self, handle: _pymm.Handle) -> bool:
        """Whether it is the present value of a variable of that shelf."""
        return self._handle.identity == handle.identity and self._is_there()

    def _is_there(self) -> bool:
        try:
            self._now()
        except InvalidArgument:
            return False
        return True

    # --- reading --------------------------------------------------------------------------------------

    def _is_current(self, version: Version) -> bool:
        return bool(self._handle.is_exactly(self._name, self._id, version.sequence))

    def _now(self) -> Version:
        version = self._version
        if self._is_current(version):
            return version
        try:
            block = self._handle.get(self._name)
        except KeyError:
            self._refuse()
        if block.id != self._id:
            self._refuse()
        self._version = version = Version(block)
        return version

    def _refuse(self) -> NoReturn:
        raise InvalidArgument(
            f"this is a former list: variable {self._name!r} was replaced, erased or renamed since; take it from the "
            "shelf anew"
        )

    def __len__(self) -> int:
        return self._now().count

    def __getitem__(self, key: Union[SupportsIndex, slice]) -> Any:
        version = self._now()
        if isinstance(key, slice):
            start, stop, step = key.indices(version.count)
            if step == 1:
                return [version.value(*slot) for slot in version.slots(start, stop)]
            return [self._element(version, i) for i in range(start, stop, step)]
        return self._element(version, self._index(key, version.count))

    def _element(self, version: Version, number: int) -> Any:
        first, at, slots = version.leaf(number)
        return version.value(at, *slots[number - first])

    def _index(self, key: SupportsIndex, count: int, what: str = "list index") -> int:
        try:
            number = operator.index(key)
        except TypeError:
            raise TypeError(f"list indices must be integers or slices, not {type(key).__name__}") from None
        if number < 0:
            number += count
        if not 0 <= number < count:
            raise OutOfRange(f"{self._name!r}: {what} out of range")
        return number

    def __iter__(self) -> Iterator[Any]:
        # As of a plain list: what is changed meanwhile counts.
        number = 0
        version = self._now()
        while number < version.count:
            first, at, slots = version.leaf(number)
            for slot in slots[number - first :]:
                yield version.value(at, *slot)
                number += 1
                if not self._is_current(version):
                    break
            version = self._now()

    def __reversed__(self) -> Iterator[Any]:
        number = len(self) - 1
        while number >= 0:
            version = self._now()
            if number < version.count:
                yield self._element(version, number)
            number -= 1

    def __contains__(self, value: object) -> bool:
        return any(found is value or found == value for found in self)

    def index(self, value: Any, start: SupportsIndex = 0, stop: Optional[SupportsIndex] = None) -> int:
        """As that of a list: ValueError when there is none."""
        version = self._now()
        first, last, _ = slice(start, stop).indices(version.count)
        for number, slot in enumerate(version.slots(first, last), first):
            found = version.value(*slot)
            if found is value or found == value:
                return number
        raise ValueError(f"{_nest.type_name(value)} is not in list {self._name!r}")

    def count(self, value: Any) -> int:
        """How many elements are equal to it."""
        return sum(1 for found in self if found is value or found == value)

    def _nest(self) -> list[Any]:
        """All of it as a plain list, whose arrays look into the shelf."""
        return self._all(False)

    def plain(self) -> list[Any]:
        """A plain Python list of the same content, all the way down. Arrays are copied."""
        return self._all(True)

    _plain = plain

    def copy(self) -> list[Any]:
        """A plain list of the elements as they are."""
        return self[:]  # type: ignore[no-any-return]

    def _all(self, copy: bool) -> list[Any]:
        version = self._now()
        left = version.size
        result = []
        for at, head, value in version.slots(0, version.count):
            # Each byte belongs to one value; values that share them could be more than there is memory for.
            left -= _list_nodes.data_size(head)
            if left < 0:
                raise version.corrupt(at, "parts of it are used several times")
            found = version.value(at, head, value)
            if isinstance(found, _containers.ShelvedContainer):
                found = found.plain() if copy else found._nest()
            elif copy:
                found = _nest.copied(found)
            result.append(found)
        return result

    def __repr__(self) -> str:
        return repr(self._nest())

    def __eq__(self, other: object) -> Any:
        if other is self:
            return True
        if not isinstance(other, (list, _containers.shelved_list, shelved_linked_list)):
            return NotImplemented
        if len(other) != len(self):
            return False
        return self._nest() == (other if isinstance(other, list) else other._nest())

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __copy__(self) -> list[Any]:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> list[Any]:
        return self.plain()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Pickles are of the plain type, and need no pymm to be read.
        return list, (self.plain(),)

    # --- changing -------------------------------------------------------------------------------------

    def append(self, value: Any) -> None:
        """Puts a value behind the last one."""
        self.extend((value,))

    def extend(self, values: Iterable[Any]) -> None:
        """Puts values behind the last one, all in one step."""
        slots = [encode(self._name, value) for value in list(values)]
        with self._lock():
            version = self._now()
            self._splice(version, version.count, version.count, slots)

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """Puts a value in front of the element of that number; as of a list, any number will do."""
        number = operator.index(index)
        slot = encode(self._name, value)
        with self._lock():
            version = self._now()
            number = max(number + version.count, 0) if number < 0 else min(number, version.count)
            self._splice(version, number, number, [slot])

    def __setitem__(self, key: Union[SupportsIndex, slice], value: Any) -> None:
        if isinstance(key, slice):
            raise TypeError("slices of a list on a shelf cannot be assigned to: assign elements, or the whole variable")
        slot = encode(self._name, value)
        with self._lock():
            version = self._now()
            number = self._index(key, version.count, "list assignment index")
            self._splice(version, number, number + 1, [slot])

    def __delitem__(self, key: Union[SupportsIndex, slice]) -> None:
        with self._lock():
            version = self._now()
            if not isinstance(key, slice):
                number = self._index(key, version.count, "list assignment index")
                self._splice(version, number, number + 1, [])
                return
            numbers = range(*key.indices(version.count))
            if not numbers:
                return
            if abs(numbers.step) != 1:
                dropped = set(numbers)
                kept = [slot for i, slot in enumerate(_moved(version)) if i not in dropped]
                self._rewrite(version, kept)
                return
            self._splice(version, min(numbers), max(numbers) + 1, [])

    def pop(self, index: SupportsIndex = -1) -> Any:
        """Removes an element, the last one if not told otherwise, and gives it back."""
        with self._lock():
            version = self._now()
            if not version.count:
                raise OutOfRange(f"{self._name!r}: pop from an empty list")
            number = self._index(index, version.count, "pop index")
            value = self._element(version, number)
            self._splice(version, number, number + 1, [])
        return value

    def remove(self, value: Any) -> None:
        """Removes the first element that is equal; ValueError when there is none."""
        with self._lock():
            del self[self.index(value)]

    def clear(self) -> None:
        """Removes all elements."""
        with self._lock():
            self._rewrite(self._now(), [])

    def reverse(self) -> None:
        """Reverses the order of the elements."""
        with self._lock():
            version = self._now()
            self._rewrite(version, _moved(version)[::-1])

    def __iadd__(self, values: Iterable[Any]) -> shelved_linked_list:
        self.extend(values)
        return self

    def _lock(self) -> Any:
        return _locks.setdefault(self._handle.identity, threading.RLock())

    def _splice(self, version: Version, start: int, stop: int, new: list[Slot]) -> None:
        if start == stop and not new:
            return
        plan = Plan(version.size)
        plan.splice(version, start, stop, plan.place(new))
        garbage = plan.size - _list_nodes.ROOT.size - plan.live
        much = plan.size - plan.base >= max(plan.live // 2, _LARGE)
        # Where there is no room for the one there may be for the other.
        steps = [self._rewritten, self._appended]
        if plan.live > _SMALL and garbage <= max(plan.live, _GARBAGE) and not much:
            steps.reverse()
        try:
            steps[0](version, plan, start, stop, new)
        except NoSpaceError:
            steps[1](version, plan, start, stop, new)

    def _rewritten(self, version: Version, plan: Plan, start: int, stop: int, new: list[Slot]) -> None:
        slots: list[Slot] = _moved(version)
        slots[start:stop] = new
        self._rewrite(version, slots)

    def _appended(self, version: Version, plan: Plan, start: int, stop: int, new: list[Slot]) -> None:
        memory = _list_nodes.Memory(plan.size - plan.base)
        plan.write(version, memory)
        self._changed(self._handle.append, memory.bytes, self._id, version.size)
        block = self._handle.get(self._name)
        if block.id == self._id:  # else another thread has assigned
            self._version = Version(block, version, plan)

    def _rewrite(self, version: Version, slots: list[Slot]) -> None:
        """All of it anew, without garbage, elsewhere."""
        plan = _planned(slots)
        stage = self._handle.stage_value(KIND, plan.size)
        plan.write(version, stage)
        self._changed(self._handle.replace, stage, self._id, version.size)

    def _changed(self, change: Any, *arguments: Any) -> None:
        try:
            change(self._name, *arguments)
        except (KeyError, NotFound):
            self._refuse()


def _moved(version: Version) -> list[Slot]:
    """The elements of a version, to be written elsewhere."""
    slots: list[Slot] = []
    left = version.size
    for at, head, value in version.slots(0, version.count):
        size = _list_nodes.data_size(head)
        if not size:
            slots.append((head, value))
            continue
        version.check_data(at, head, value)
        left -= size
        if left < 0:
            raise version.corrupt(at, "parts of it are used several times")
        slots.append(Part(head, old=value))
    return slots


def _planned(slots: list[Slot]) -> Plan:
    plan = Plan(0)
    plan.build(0, plan.place(slots))
    return plan


def encode(name: str, value: Any) -> Slot:
    """The slot for a value. TypeError and ValueError as of _nest.Plan."""
    if isinstance(value, _containers.Nested):
        value = value._nest()
    elif isinstance(value, linked_list):
        value = value.value
    if _nest.is_plain(value):
        plan = _nest.Plan(name, value)
        return Part(plan.size << 8 | _list_nodes.TREE, tree=plan)
    encoded = _values.encode(value.value if isinstance(value, Constructor) else value)
    if encoded is None or encoded[0] == _values.SCALAR:
        plan = _nest.Plan(name, value, inside=True)
        return Part(plan.size << 8 | _list_nodes.LEAF, tree=plan)
    kind, data, _, _ = encoded
    if len(data) <= 8:
        item: Item = (len(data) << 8 | kind, int.from_bytes(data, "little"))
        return item
    return Part(len(data) << 8 | kind, data)


class linked_list(Constructor):
    """A list to be put on a shelf that can be changed there.

    >>> s.l = pymm.linked_list()
    >>> s.l.append(1)
    >>> s.l += ['two', np.arange(3)]

    Parameters
    ----------
    values
        What it begins with: any iterable of what lists on a shelf can hold.

    What comes back is a `pymm.linked_list.shelved_linked_list`. Assigning that to another name copies it.
    """

    shelved_linked_list = shelved_linked_list

    __slots__ = ()

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.value = list(values)


def store(target: Any, handle: _pymm.Handle, name: str, value: Any) -> bool:
    """Puts a list that can be changed under `name`; False for other values."""
    if not isinstance(value, (linked_list, shelved_linked_list)):
        return False
    elements = value.value if isinstance(value, linked_list) else value.copy()
    plan = _planned([encode(name, element) for element in elements])
    stage = handle.stage_value(KIND, plan.size)
    plan.write(None, stage)
    target.put_stage(name, stage)
    return True
