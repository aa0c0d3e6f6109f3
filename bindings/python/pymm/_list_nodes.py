"""Linked lists on media: reading one version of a list, and planning the next one.

The bytes are described in docs/FORMAT.md, "Linked lists". A list is one blob that only grows: a change writes what is
new, and the nodes on the way to it, behind the end. So nothing that an older version refers to ever changes. What is
read was checked: its place by its numbers, nodes and data by their checksums.
"""

from __future__ import annotations

import struct
from typing import Any, Iterator, Optional, Tuple, Union

from . import _pymm, _tree, _values
from ._errors import CorruptError, VersionError

KIND = 13
MAGIC = b"PYMMLIST"
VERSION = 1
FANOUT = 32  # items of a node
LEVELS = 16
# Tags of slots, besides the kinds of values.
TREE, LEAF = 32, 33

ROOT = struct.Struct("<8sIIQQQQIIII")  # magic, version, checksum, bytes, elements, node, live bytes, level
NODE = struct.Struct("<IHHQ")  # checksum, level, items, own offset
ITEM = struct.Struct("<QQ")  # a slot, or a child: offset and elements
CHECKSUM = struct.Struct("<I")
ALIGN = 64

# (head and value of a slot) or (offset and elements of a child)
Item = Tuple[int, int]

_FAR = (_values.STRING, _values.BYTES, _values.INTEGER, _values.COMPLEX)
_LEAST = FANOUT // 4  # with fewer items a node is joined to its neighbour
_NODES = 256  # nodes that are kept, decoded


def round_up(number: int, unit: int) -> int:
    return number + -number % unit


def node_size(items: int) -> int:
    return NODE.size + ITEM.size * items


def data_size(head: int) -> int:
    """Bytes that the value of a slot takes outside of it."""
    tag, size = head & 0xFF, head >> 8
    if tag >= TREE:
        return round_up(size, ALIGN)
    return 0 if size <= 8 else round_up(CHECKSUM.size + size, 8)


class Version:
    """One version of a list. Nothing of it changes while it is in use, whatever becomes of the variable."""

    __slots__ = ("block", "name", "id", "sequence", "size", "count", "top", "level", "live", "_nodes", "_trees")

    def __init__(self, block: _pymm.Block, last: Optional[Version] = None, plan: Optional[Plan] = None) -> None:
        """`plan`: what was appended to the version `last`."""
        self.block = block
        self.name = block.name
        self.id = block.id
        self.sequence = block.sequence
        self.size = size = block.size
        self._nodes: dict[tuple[int, int], list[Item]] = {}  # those that were found sound, by offset and level
        if last is not None and plan is not None:
            self._nodes = last._nodes if len(last._nodes) < _NODES else {}
            self._nodes.update(plan.nodes)
        self._trees: dict[int, _tree.Tree] = {}
        if size < ROOT.size or size % 8:
            raise self.corrupt(0, f"{size} bytes are no list")
        at = size - ROOT.size
        root = block.read(at, ROOT.size)
        magic, version, checksum, told, count, top, live, level, *_ = ROOT.unpack(root)
        if magic != MAGIC:
            raise self.corrupt(at, "it does not end as a list does")
        if version != VERSION:
            raise VersionError(
                f"variable {self.name!r}: its list has version {version}, this program knows version {VERSION}: "
                "use a newer one"
            )
        if _pymm.checksum(root[:12] + bytes(4) + root[16:]) != checksum:
            raise self.corrupt(at, "the checksum of its root is wrong")
        # Each element has a slot of its own, so a count is no promise of more than there can be.
        if told != size or count > size // ITEM.size or live > size or level >= LEVELS or (not count and (top or level)):
            raise self.corrupt(at, f"a list of {count} elements in {size} bytes cannot be")
        self.count: int = count
        self.top: int = top
        self.level: int = level
        self.live: int = live  # bytes that are not garbage, without the root

    def corrupt(self, at: int, what: str) -> CorruptError:
        return CorruptError(
            f"variable {self.name!r}: its list is damaged at byte {at}: {what}; restore it from a copy, or erase it"
        )

    # --- nodes ----------------------------------------------------------------------------------------

    def node(self, at: int, level: int, count: int, limit: int) -> list[Item]:
        """The items of a node with so many elements that lies in front of `limit`. Not to be changed."""
        known = self._nodes.get((at, level))
        if known is None:
            known = self._read_node(at, level, limit)
            if len(self._nodes) >= _NODES:
                self._nodes.clear()
            self._nodes[at, level] = known
        elif node_size(len(known)) > limit - at:
            raise self.corrupt(at, "a node behind what refers to it")
        if count != (sum([elements for _, elements in known]) if level else len(known)):
            raise self.corrupt(at, f"a node has other than {count} elements")
        return known

    def _read_node(self, at: int, level: int, limit: int) -> list[Item]:
        if at % 8 or at + NODE.size > limit:
            raise self.corrupt(at, "no node can be there")
        checksum, its_level, items, own = NODE.unpack(self.block.read(at, NODE.size))
        size = node_size(items)
        if not 1 <= items <= FANOUT or at + size > limit:
            raise self.corrupt(at, f"a node of {items} items cannot be there")
        data = self.block.read(at, size)
        if _pymm.checksum(bytes(4) + data[4:]) != checksum:
            raise self.corrupt(at, "the checksum of a node is wrong")
        if own != at or its_level != level:
            raise self.corrupt(at, "the node is one of another place")
        found = list(ITEM.iter_unpack(data[NODE.size :]))
        if level and not all(elements for _, elements in found):
            raise self.corrupt(at, "a node without elements")
        return found

    def leaf(self, number: int) -> tuple[int, int, list[Item]]:
        """(first element, offset, slots) of the leaf with the element of that number, which there is."""
        at, level, count, limit, first = self.top, self.level, self.count, self.size - ROOT.size, 0
        while level:
            items, limit = self.node(at, level, count, limit), at
            for child, elements in items:
                if number < first + elements:
                    break
                first += elements
            at, count, level = child, elements, level - 1
        return first, at, self.node(at, 0, count, limit)

    def slots(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """(offset of the leaf, head, value) of these elements."""
        while start < stop:
            first, at, items = self.leaf(start)
            for head, value in items[start - first : stop - first]:
                yield at, head, value
            start = first + len(items)

    # --- values ---------------------------------------------------------------------------------------

    def value(self, leaf: int, head: int, value: int) -> Any:
        """What a slot of the leaf at `leaf` holds: a plain value, an array or a container that looks into the list."""
        tag, size = head & 0xFF, head >> 8
        if tag in (TREE, LEAF):
            return self._tree_value(leaf, tag, size, value)
        decode = _tree._LEAVES.get(tag)
        if decode is None:
            raise self.corrupt(leaf, f"tag {tag} is unknown")
        if size <= 8:
            if value >> 8 * size:
                raise self.corrupt(leaf, "there is more than its size")
            data = value.to_bytes(8, "little")[:size]
        else:
            self.check_data(leaf, head, value)
            (checksum,) = CHECKSUM.unpack(self.block.read(value, CHECKSUM.size))
            data = self.block.read(value + CHECKSUM.size, size)
            if _pymm.checksum(data) != checksum:
                raise self.corrupt(value, "the checksum of a value is wrong")
        try:
            return decode(data)
        except (ValueError, struct.error) as error:
            raise self.corrupt(leaf, f"this is no value of kind {tag}: {error}") from None

    def check_data(self, leaf: int, head: int, value: int) -> None:
        """Whether there can be what a slot refers to outside of it: in front of it."""
        tag, size = head & 0xFF, head >> 8
        if tag in (TREE, LEAF):
            sound = value % ALIGN == 0 and size >= _tree.HEADER.size and value + size <= leaf
        else:
            sound = size <= 8 or (tag in _FAR and value % 8 == 0 and value + CHECKSUM.size + size <= leaf)
        if not sound:
            raise self.corrupt(leaf, f"{size} bytes of kind {tag} at {value} cannot be")

    def _tree_value(self, leaf: int, tag: int, size: int, value: int) -> Any:
        self.check_data(leaf, size << 8 | tag, value)
        tree = self._trees.get(value)
        if tree is None or tree.size != size:
            tree = _tree.Tree(self.block, value, size)
            if len(self._trees) >= _NODES:
                self._trees.clear()
            self._trees[value] = tree
        head, offset = tree.root
        tree.check_container(_tree.ROOT, head, offset, 0)
        if tag == TREE:
            if head & 0xFF not in _tree.classes:
                raise self.corrupt(value, "this tree should be a list, tuple or dict")
            return _tree.classes[head & 0xFF](tree, offset, head >> 8, 0)
        if head != 1 << 8 | _tree.LIST:
            raise self.corrupt(value, "this tree should be a list of one element")
        return tree.value(offset, *tree.slot(offset), 1)


class Part:
    """What is to be written besides nodes: the data of one value, in front of them."""

    __slots__ = ("head", "size", "align", "data", "tree", "old")

    def __init__(self, head: int, data: bytes = b"", tree: Any = None, old: int = 0) -> None:
        self.head = head
        self.size = data_size(head)
        self.align = ALIGN if head & 0xFF >= TREE else 8
        self.data = data
        self.tree = tree  # a plan of a tree
        self.old = old  # where neither is given: to be copied from there in the last version

    def write(self, out: _Writer, at: int, last: Optional[Version]) -> None:
        if self.tree is not None:
            self.tree.write(out.window(at))
        elif self.data:
            out.put(at, CHECKSUM.pack(_pymm.checksum(self.data)))
            out.put(at + CHECKSUM.size, self.data)
        else:
            assert last is not None
            left, source = self.head >> 8, self.old
            if self.head & 0xFF < TREE:
                left += CHECKSUM.size
            while left:
                piece = min(left, _PIECE)
                out.put(at, last.block.read(source, piece))
                at, source, left = at + piece, source + piece, left - piece


Slot = Union[Item, Part]


class Plan:
    """What is to be written behind `base` bytes, so that they end in the root of the next version."""

    __slots__ = ("base", "end", "parts", "_written", "nodes", "count", "top", "level", "live", "size")

    def __init__(self, base: int) -> None:
        self.base = base
        self.end = base  # of what has its place by now
        self.parts: list[tuple[int, Part]] = []  # in the order of their offsets
        self._written: list[tuple[int, int, list[Item]]] = []  # offset, level, items
        self.nodes: dict[tuple[int, int], list[Item]] = {}  # the last of these, by offset and level
        self.count = self.top = self.level = self.live = self.size = 0

    def place(self, slots: list[Slot]) -> list[Item]:
        """The slots, once all data has its place."""
        placed: list[Item] = []
        for slot in slots:
            if isinstance(slot, Part):
                at = round_up(self.end, slot.align)
                self.parts.append((at, slot))
                self.end = at + slot.size
                self.live += data_size(slot.head)
                slot = (slot.head, at)
            placed.append(slot)
        return placed

    # --- the tree of nodes ----------------------------------------------------------------------------

    def _write(self, level: int, items: list[Item]) -> Item:
        at = round_up(self.end, 8)
        self.end = at + node_size(len(items))
        self.live += node_size(len(items))
        self._written.append((at, level, items))
        return at, sum([elements for _, elements in items]) if level else len(items)

    def _write_all(self, level: int, items: list[Item], at_end: bool) -> list[Item]:
        """Nodes for all the items. `at_end`: more will come behind them, so those before the last are full."""
        pieces = -(-len(items) // FANOUT)
        if at_end or pieces <= 1:
            cuts = list(range(0, len(items), FANOUT))
        else:
            cuts = [len(items) * k // pieces for k in range(pieces)]
        return [self._write(level, items[a:b]) for a, b in zip(cuts, [*cuts[1:], len(items)])]

    def build(self, level: int, items: list[Item], at_end: bool = True) -> None:
        """The nodes above these items of a node, and so the next version."""
        while len(items) > FANOUT:
            items = self._write_all(level, items, at_end)
            level += 1
        if not items:
            self.count = self.top = self.level = 0
        elif len(items) == 1 and level:
            # A node of one child is none.
            (self.top, self.count), self.level = items[0], level - 1
        else:
            (self.top, self.count), self.level = self._write(level, items), level
        self.size = round_up(self.end + ROOT.size, ALIGN)
        # One path of nodes from the end is what an append needs next.
        self.nodes = {(at, level): items for at, level, items in self._written[-2 * LEVELS :]}

    def splice(self, last: Version, start: int, stop: int, new: list[Item]) -> None:
        """The last version with `new` in place of the elements from `start` up to `stop`."""
        self.live += last.live
        if not last.count:
            self.build(0, new)
            return
        at_end = start == last.count
        items = self._edit(last, last.top, last.level, last.count, last.size - ROOT.size, start, stop, new, at_end)
        self.build(last.level, items, at_end)

    def _edit(
        self,
        last: Version,
        at: int,
        level: int,
        count: int,
        limit: int,
        start: int,
        stop: int,
        new: list[Item],
        at_end: bool,
    ) -> list[Item]:
        """The items that the node comes to have, however many. `start` and `stop` count from its first element."""
        items = last.node(at, level, count, limit)
        self.live -= node_size(len(items))
        if not level:
            for head, value in items[start:stop]:
                last.check_data(at, head, value)
                self.live -= data_size(head)
            return items[:start] + new + items[stop:]
        # The children that are touched: `low` up to `high`. What is put between two belongs to the left one.
        low, first = 0, 0
        while first + items[low][1] < start + (stop > start):
            first += items[low][1]
            low += 1
        high, below, place = low, [], first
        while high == low or (high < len(items) and place < stop):
            child, elements = items[high]
            inner = new if high == low else []
            from_, to = max(start - place, 0), min(stop - place, elements)
            below += self._edit(last, child, level - 1, elements, at, from_, max(from_, to), inner, at_end)
            place += elements
            high += 1
        # Few are joined to those of a neighbour.
        if len(below) < _LEAST and len(items) > high - low:
            near = low - 1 if low else high
            neighbour = last.node(items[near][0], level - 1, items[near][1], at)
            self.live -= node_size(len(neighbour))
            if low:
                below, low = neighbour + below, near
            else:
                below, high = below + neighbour, near + 1
        return items[:low] + self._write_all(level - 1, below, at_end) + items[high:]

    # --- the bytes ------------------------------------------------------------------------------------

    def write(self, last: Optional[Version], target: Any) -> None:
        """Puts all into the target, whose byte 0 is that at `base`."""
        out = _Writer(target, self.base)
        for at, part in self.parts:
            part.write(out, at, last)
        for at, level, items in self._written:
            data = NODE.pack(0, level, len(items), at) + b"".join([ITEM.pack(*item) for item in items])
            out.put(at, CHECKSUM.pack(_pymm.checksum(data)) + data[4:])
        root = [MAGIC, VERSION, 0, self.size, self.count, self.top, max(self.live, 0), self.level, 0, 0, 0]
        root[2] = _pymm.checksum(ROOT.pack(*root))
        out.put(self.size - ROOT.size, ROOT.pack(*root))
        out.flush()


_PIECE = 1 << 20


class _Writer:
    """Puts small pieces together. Gaps become zeros."""

    def __init__(self, target: Any, base: int) -> None:
        self._target = target
        self._base = base
        self._start = base
        self._bytes = bytearray()

    def window(self, at: int) -> _Window:
        """For what writes by itself, where `at` is 0."""
        self.flush()
        return _Window(self._target, at - self._base)

    def put(self, at: int, data: bytes) -> None:
        if len(self._bytes) >= _PIECE or not 0 <= at - self._start - len(self._bytes) < ALIGN:
            self.flush()
        if not self._bytes:
            self._start = at
        self._bytes += bytes(at - self._start - len(self._bytes))
        self._bytes += data

    def flush(self) -> None:
        if self._bytes:
            self._target.write(self._start - self._base, self._bytes)
            self._bytes = bytearray()


class _Window:
    """A target that starts within another one."""

    def __init__(self, target: Any, start: int) -> None:
        self._target = target
        self._start = start

    def write(self, offset: int, data: Any) -> None:
        self._target.write(self._start + offset, data)

    def memory(self) -> memoryview:
        memory: memoryview = self._target.memory()
        return memory[self._start :]


class Memory:
    """A target in DRAM."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)

    def write(self, offset: int, data: Any) -> None:
        view = memoryview(data)
        self.bytes[offset : offset + view.nbytes] = view.cast("B") if view.nbytes else b""

    def memory(self) -> memoryview:
        return memoryview(self.bytes)
