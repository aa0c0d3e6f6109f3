"""Lists, tuples and dicts on a shelf. They are read-only, and read only where they are looked at."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, Callable, NoReturn, Optional, SupportsIndex, Union

from . import _pymm, _tree, _values


class Nested:
    """What goes into a container as the plain container that it gives."""

    __slots__ = ()

    def _nest(self) -> Any:
        raise NotImplementedError


class ShelvedContainer(Nested, _values.ShelvedValue):
    """What `shelved_list`, `shelved_tuple` and `shelved_dict` have in common."""

    __slots__ = ("_tree", "_offset", "_count", "_depth", "_origin", "__weakref__")

    # The plain type, what can be equal to it, and the slot's tag.
    _type: type[Any]
    _base: type[Any]
    _tag: int

    def __init__(self, tree: _tree.Tree, offset: int, count: int, depth: int) -> None:
        self._tree = tree
        self._offset = offset
        self._count = count
        self._depth = depth

    @property
    def name(self) -> str:
        """Name of the variable that this is, or is a part of."""
        return self._tree.name

    @property
    def is_whole(self) -> bool:
        """Whether this is the value of a variable, and no part of one."""
        whole = self._depth == 0 or (self._depth == 2 and self._offset == self._tree.whole != 0)
        return whole and self._tree.is_whole

    def plain(self) -> Any:
        """A plain Python container of the same content, all the way down: what can be changed, and assigned
        again. Arrays are copied."""
        return self._tree.nest(self._tag, self._offset, self._count, self._depth, True)

    _plain = plain

    def _nest(self) -> Any:
        """As plain(), with arrays that look into the shelf."""
        return self._tree.nest(self._tag, self._offset, self._count, self._depth, False)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return repr(self._nest())

    def __copy__(self) -> Any:
        return self._shallow()

    def _shallow(self) -> Any:
        raise NotImplementedError

    def __eq__(self, other: object) -> Any:
        if other is self:
            return True
        plain = _nest_of(other, self._base)
        if plain is None:
            return NotImplemented
        return len(plain) == self._count and self._nest() == plain

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is NotImplemented else not equal

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        self._refuse("item assignment")

    def __delitem__(self, key: Any) -> NoReturn:
        self._refuse("item deletion")

    def _refuse(self, what: str) -> NoReturn:
        name = self.name
        target = f"s.{name}" if name.isidentifier() else f"s[{name!r}]"
        raise TypeError(
            f"{what}: a {self._type.__name__} on a shelf is read-only. Change a copy and assign that: "
            f"x = {target}.plain(); ...; {target} = x"
        )


def _nest_of(other: object, kind: type[Any]) -> Any:
    """A container of that type, plain; None for other objects."""
    if isinstance(other, ShelvedContainer):
        return other._nest() if other._base is kind else None
    return other if isinstance(other, kind) else None


def _refused(name: str) -> Callable[..., NoReturn]:
    def method(self: ShelvedContainer, *args: Any, **kwargs: Any) -> NoReturn:
        self._refuse(f"{name}()")

    method.__name__ = name
    method.__doc__ = "Raises TypeError: it is read-only."
    return method


class _Sequence(ShelvedContainer):
    __slots__ = ()

    def __getitem__(self, key: Union[SupportsIndex, slice]) -> Any:
        if isinstance(key, slice):
            start, stop, step = key.indices(self._count)
            if step == 1:
                return self._type(self._elements(start, stop))
            return self._type([self._element(i) for i in range(start, stop, step)])
        try:
            number = operator.index(key)
        except TypeError:
            raise TypeError(
                f"{self._type.__name__} indices must be integers or slices, not {type(key).__name__}"
            ) from None
        if number < 0:
            number += self._count
        if not 0 <= number < self._count:
            raise IndexError(f"{self._type.__name__} index out of range")
        return self._element(number)

    def _element(self, number: int) -> Any:
        at = self._offset + number * _tree.SLOT.size
        return self._tree.value(at, *self._tree.slot(at), self._depth + 1)

    def _elements(self, first: int, last: int) -> Iterator[Any]:
        tree, depth = self._tree, self._depth + 1
        for at, data, numbers in tree.chunks(self._offset, first, last):
            if numbers is not None:
                yield from numbers
                continue
            for head, value in _tree.SLOT.iter_unpack(data):
                yield tree.value(at, head, value, depth)
                at += _tree.SLOT.size

    def __iter__(self) -> Iterator[Any]:
        return self._elements(0, self._count)

    def __reversed__(self) -> Iterator[Any]:
        return map(self._element, range(self._count - 1, -1, -1))

    def __contains__(self, value: object) -> bool:
        return value in self._nest()

    def index(self, value: Any, start: SupportsIndex = 0, stop: Optional[SupportsIndex] = None) -> int:
        """As that of the plain type: ValueError when there is none."""
        last = self._count if stop is None else operator.index(stop)
        found: int = self._nest().index(value, start, last)
        return found

    def count(self, value: Any) -> int:
        """As that of the plain type."""
        found: int = self._nest().count(value)
        return found

    def _shallow(self) -> Any:
        return self._type(self)

    def __add__(self, other: Any) -> Any:
        plain = _shallow_of(other, self._type)
        return NotImplemented if plain is None else self._shallow() + plain

    def __radd__(self, other: Any) -> Any:
        plain = _shallow_of(other, self._type)
        return NotImplemented if plain is None else plain + self._shallow()

    def __mul__(self, times: SupportsIndex) -> Any:
        return self._shallow() * times

    __rmul__ = __mul__

    def _ordered(self, other: Any, compare: Callable[[Any, Any], Any]) -> Any:
        plain = _nest_of(other, self._type)
        return NotImplemented if plain is None else compare(self._nest(), plain)

    def __lt__(self, other: Any) -> Any:
        return self._ordered(other, operator.lt)

    def __le__(self, other: Any) -> Any:
        return self._ordered(other, operator.le)

    def __gt__(self, other: Any) -> Any:
        return self._ordered(other, operator.gt)

    def __ge__(self, other: Any) -> Any:
        return self._ordered(other, operator.ge)


def _shallow_of(other: Any, kind: type[Any]) -> Any:
    if isinstance(other, ShelvedContainer) and other._base is kind:
        return other._shallow()
    return other if isinstance(other, kind) else None


class shelved_list(_Sequence, Sequence[Any]):
    """A `list` on a shelf, read-only.

    An element is read where it is looked at, however many there are; arrays are views without a copy, and so are tensors,
    on private pages, as they cannot be read-only: what is stored to one is seen here until the list is opened anew. Slices,
    `+`, `*` and `copy()` give plain lists; `plain()` gives one all the way down.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]
    _type = _base = list
    _tag = _tree.LIST

    def copy(self) -> list[Any]:
        """A plain list of the elements as they are."""
        return list(self)

    append = _refused("append")
    clear = _refused("clear")
    extend = _refused("extend")
    insert = _refused("insert")
    pop = _refused("pop")
    remove = _refused("remove")
    reverse = _refused("reverse")
    sort = _refused("sort")


class shelved_tuple(_Sequence, Sequence[Any]):
    """A `tuple` on a shelf. An element is read where it is looked at; arrays are read-only views without a copy.
    Slices, `+` and `*` give plain tuples; `plain()` gives one all the way down. It has the hash of the tuple."""

    __slots__ = ()
    _type = _base = tuple
    _tag = _tree.TUPLE

    def __hash__(self) -> int:
        return hash(self._nest())


class _Keys(KeysView[Any]):
    __slots__ = ()
    _mapping: shelved_dict

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._mapping)

    def __repr__(self) -> str:
        return f"dict_keys({list(self)!r})"


class _Items(ItemsView[Any, Any]):
    __slots__ = ()
    _mapping: shelved_dict

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self._mapping._pairs()

    def __reversed__(self) -> Iterator[tuple[Any, Any]]:
        return map(self._mapping._pair, range(len(self._mapping) - 1, -1, -1))

    def __repr__(self) -> str:
        return f"dict_items({list(self)!r})"


class _Values(ValuesView[Any]):
    __slots__ = ()
    _mapping: shelved_dict

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping._pairs())

    def __reversed__(self) -> Iterator[Any]:
        mapping = self._mapping
        return (mapping._pair(i)[1] for i in range(len(mapping) - 1, -1, -1))

    def __contains__(self, value: object) -> bool:
        return value in self._mapping._nest().values()

    def __repr__(self) -> str:
        return f"dict_values({list(self)!r})"


class shelved_dict(ShelvedContainer, Mapping[Any, Any]):
    """A `dict` on a shelf, read-only, in the order in which its items were put there.

    An item is found by its key and read where it is looked at, however many there are; arrays are views without a
    copy. Keys are equal as Python has it: 1, 1.0 and True are the same key. A NaN is equal to nothing, and here
    each is an object of its own, so none is found. `numpy.datetime64` and `timedelta64` are found with
    the unit that they were stored with. `|` and `copy()` give plain dicts; `plain()` gives one all the way down.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]
    _type: type[Any] = dict
    _base = dict
    _tag = _tree.DICT

    def __getitem__(self, key: Any) -> Any:
        number = self._tree.find(self._offset, self._count, self._depth, key)
        if number is None:
            raise KeyError(key)
        at = self._offset + number * _tree.ITEM.size + _tree.SLOT.size
        return self._tree.value(at, *self._tree.slot(at), self._depth + 1)

    def __contains__(self, key: object) -> bool:
        return self._tree.find(self._offset, self._count, self._depth, key) is not None

    def _key(self, number: int) -> Any:
        at = self._offset + number * _tree.ITEM.size
        return self._tree.key(at, *self._tree.slot(at), self._depth + 1)

    def _pair(self, number: int) -> tuple[Any, Any]:
        at = self._offset + number * _tree.ITEM.size + _tree.SLOT.size
        return self._key(number), self._tree.value(at, *self._tree.slot(at), self._depth + 1)

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        tree, depth = self._tree, self._depth + 1
        slots = tree.slots(self._offset, 0, 2 * self._count)
        for slot in slots:
            yield tree.key(*slot, depth), tree.value(*next(slots), depth)

    def __iter__(self) -> Iterator[Any]:
        tree, depth = self._tree, self._depth + 1
        slots = tree.slots(self._offset, 0, 2 * self._count)
        for slot in slots:
            yield tree.key(*slot, depth)
            next(slots)

    def __reversed__(self) -> Iterator[Any]:
        return map(self._key, range(self._count - 1, -1, -1))

    def keys(self) -> KeysView[Any]:
        """As `dict.keys()`."""
        return _Keys(self)

    def values(self) -> ValuesView[Any]:
        """As `dict.values()`."""
        return _Values(self)

    def items(self) -> ItemsView[Any, Any]:
        """As `dict.items()`."""
        return _Items(self)

    def _shallow(self) -> Any:
        return self._type(self._pairs())

    def copy(self) -> dict[Any, Any]:
        """A plain dict of the items as they are."""
        plain: dict[Any, Any] = self._shallow()
        return plain

    def __or__(self, other: Any) -> Any:
        plain = _shallow_of(other, dict)
        return NotImplemented if plain is None else self._shallow() | plain

    def __ror__(self, other: Any) -> Any:
        return other | self._shallow() if isinstance(other, dict) else NotImplemented

    clear = _refused("clear")
    pop = _refused("pop")
    popitem = _refused("popitem")
    setdefault = _refused("setdefault")
    update = _refused("update")


class shelved_ordered_dict(shelved_dict):
    """A `collections.OrderedDict` on a shelf: as `shelved_dict`, but the order counts in a comparison of two."""

    __slots__ = ()
    _type = OrderedDict
    _tag = _tree.ORDERED


_tree.classes.update({cls._tag: cls for cls in (shelved_list, shelved_tuple, shelved_dict, shelved_ordered_dict)})
_tree.tuples.append(shelved_tuple)


def from_block(block: _pymm.Block, tree: Optional[_tree.Tree] = None) -> Any:
    """The container, or object of another package, that a block of kind tree holds."""
    if tree is None:
        tree = _tree.Tree(block)
    head, offset = tree.root
    tree.check_container(_tree.ROOT, head, offset, 0)
    if head & 0xFF == _tree.OBJECT:
        return tree.opened(_tree.ROOT, head, offset, 0)
    return _tree.classes[head & 0xFF](tree, offset, head >> 8, 0)
