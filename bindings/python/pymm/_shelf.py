"""The shelf: variables as attributes and items."""

from __future__ import annotations

import atexit
import math
import numbers
import os
import threading
import weakref
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Iterator, Optional, Union

import numpy as np

from . import (
    _append,
    _array,
    _checkpoints,
    _containers,
    _inspect,
    _linked_list,
    _loading,
    _naming,
    _objects,
    _pickled,
    _pymm,
    _store,
    _table,
    _tensor,
    _transaction,
    _values,
    _volatile,
)
from ._arena import Arena
from ._batch import Batch
from ._checkpoints import Checkpoint
from ._errors import BusyError, Error, ExistsError, InvalidArgument, NotFound, PinnedError, made_here
from ._paths import PathLike, address_of, resolve
from ._state import Change, State
from ._transaction import Transaction

if TYPE_CHECKING:  # importing it takes a while
    from concurrent.futures import Future

_MODES = ("a", "r", "r+", "x", "w-", "w")
# The predecessor's storage engines. All but the last kept data in persistent memory, as we do.
_BACKENDS = (None, "hstore", "hstore-cc", "hstore-mm", "mapstore")

# Python objects of shelves by identity of the library's: opening a shelf again gives the same one.
_open_shelves: weakref.WeakValueDictionary[int, shelf] = weakref.WeakValueDictionary()
# Those of backend 'mapstore' by name: they have no path to be opened by.
_volatile_shelves: weakref.WeakValueDictionary[str, shelf] = weakref.WeakValueDictionary()
_lock = threading.RLock()
_append.shelves = _open_shelves


def _open_handle(name: str, path: str, mode: str, capacity: int, checksum: bool, address: int) -> _pymm.Handle:
    if mode == "w":
        # A notebook cell that makes a shelf anew is run again: the old object is done with. Views of
        # it that are still in use make the library refuse.
        for other in list(_open_shelves.values()):
            state = other._state
            if not state.path:  # volatile: "" would be taken for the working directory
                continue
            if state.handle.name == name and os.path.realpath(state.path) == os.path.realpath(path):
                other.close()
        try:
            return _pymm.Handle.create(path, name, capacity, True, checksum, address)
        except BusyError:
            # Only this process's own lock would let it be opened once more.
            try:
                _pymm.Handle.open(path, name, True).close()
            except Error:
                pass
            else:
                raise made_here(
                    BusyError,
                    f"shelf {name!r} in {path}: arrays of it are still in use in this process; `del` them first, and "
                    "what else refers to them (at a prompt also `_`, `Out`)",
                ) from None
            raise
    if mode in ("x", "w-"):
        return _pymm.Handle.create(path, name, capacity, False, checksum, address)
    if mode == "r":
        return _pymm.Handle.open(path, name, False, address)
    try:
        return _pymm.Handle.open(path, name, True, address)
    except NotFound:
        if mode == "r+":
            raise
    try:
        return _pymm.Handle.create(path, name, capacity, False, checksum, address)
    except ExistsError:
        # Another process was faster.
        return _pymm.Handle.open(path, name, True, address)


class shelf(_pymm.ShelfBase):
    """A shelf of variables that outlive the process: `s.x = value` keeps, `s.x` gives back.

    Parameters
    ----------
    name
        Name of the shelf: the files are NAME.data and NAME.map in `pmem_path`.
    pmem_path
        Directory that holds it. By default $PYMM_PATH, else /mnt/pmem0 where it exists, else
        $XDG_DATA_HOME/pymm or ~/.local/share/pymm.
    size_mb
        Capacity in MiB when it is created.
    force_new
        Erase a shelf of that name first. If this process has it open it is closed; BusyError when
        arrays of it are still in use, here or elsewhere.
    mode
        'a': open, or create (default); 'r': read-only; 'r+': must exist; 'x' or 'w-': must not exist;
        'w': as force_new.
    checksum
        When it is created: record a checksum of the content at every assignment, which `pymmctl fsck
        --scrub` verifies. An array that is opened on a writable shelf can be changed behind it, so its
        checksum is removed then, durably, until the next assignment or `seal`; with mode='r' it stays.
    backend
        None, 'hstore', 'hstore-cc' and 'hstore-mm' are the same: the shelf described here. 'mapstore' is a
        volatile shelf with the same calls: in DRAM (in /dev/shm, or where temporary files go), without
        files that others could open, whatever `pmem_path` says. It is found again by its name while this
        process holds it, and gone when it is closed, when its last reference goes, or with the process.
        Its mode is 'a' or 'w'.
    load_addr
        Address at which the shelf is to be mapped, a multiple of the page size: an int, or text such as
        '0x900000000'. It is mapped there if all of it is free, else elsewhere, as when it is open already
        (PYMM_DEBUG=1 logs it). `s.x.addr` tells. A shelf holds no pointers: it may be mapped anywhere next time.
        A closed shelf keeps its place while its object or an array of it lives.
    mm_plugin
        Accepted for compatibility.

    allow_pickle
        Whether objects are pickled to this shelf (`s.x = pymm.pickled(obj)`) and unpickled from it. Unpickling runs what
        the pickle says: allow it only where you trust whoever wrote the shelf. Without, access to such a variable raises
        PickleRefused; everything else on the shelf can be used. None leaves a shelf that is open as it is, and is
        False for others.

    Assignment is atomic and durable when it returns: after a crash there is the old value or the new one. Assigning
    a variable's own array to it (`a = s.x; a[0] = 5; s.x = a`) copies nothing and makes what was stored to it durable.
    Opening a shelf that is open in this process gives the same object. With mode='r' every access looks
    at the newest version that the writer has committed, and arrays are read-only.

    Threads may share a shelf; each call is one step. `s.n += 1` on a number is two, a load and an assignment, and
    another thread may come between. In a forked child the shelf belongs to the parent: open it there by its name.

    `with pymm.shelf(...) as s:` closes it at the end of the block.

    Names that are methods here (`persist`, `items` ...), and names that are no identifiers, are reached as
    items: `s['persist']`, `s['model/conv1.weight']`.
    """

    def __new__(
        cls,
        name: str,
        pmem_path: Optional[PathLike] = None,
        size_mb: float = 32,
        load_addr: Union[str, int, None] = None,
        backend: Optional[str] = None,
        mm_plugin: Optional[str] = None,
        force_new: bool = False,
        mode: str = "a",
        checksum: bool = False,
        allow_pickle: Optional[bool] = None,
    ) -> shelf:
        if not isinstance(name, str):
            raise TypeError(f"the name of a shelf is a str, not {type(name).__name__}")
        _store.check_name(name)
        if mode not in _MODES:
            raise InvalidArgument(f"mode {mode!r}: one of {', '.join(map(repr, _MODES))}")
        if backend not in _BACKENDS:
            raise InvalidArgument(f"backend {backend!r}: one of {', '.join(map(repr, _BACKENDS))}")
        if force_new:
            if mode not in ("a", "w"):
                raise InvalidArgument(f"force_new=True and mode={mode!r} contradict each other")
            mode = "w"
        if not isinstance(size_mb, numbers.Real):
            raise TypeError(f"size_mb is a number of MiB, not {type(size_mb).__name__}")
        if not 0 < size_mb < math.inf:
            raise InvalidArgument(f"size_mb {size_mb}: must be positive, and not infinite")
        capacity = int(size_mb * (1 << 20))
        address = address_of(load_addr)
        volatile = backend == "mapstore"
        if volatile and mode not in ("a", "w"):
            raise InvalidArgument(f"mode {mode!r}: a volatile shelf (backend 'mapstore') has only 'a' and 'w'")
        path = "" if volatile else resolve(pmem_path)
        with _lock:
            if volatile:
                living = _volatile_shelves.get(name)
                if living is not None and living._state.handle.is_open:
                    if mode == "a":
                        return living._allowing(allow_pickle)
                    living.close()
                handle = _volatile.create(name, capacity, checksum, address)
            else:
                handle = _open_handle(name, path, mode, capacity, checksum, address)
            known = _open_shelves.get(handle.identity)
            if known is not None:
                return known._allowing(allow_pickle)
            self: shelf = super().__new__(cls, State(handle, path, "volatile memory" if volatile else handle.path))
            _open_shelves[handle.identity] = self
            if volatile:
                _volatile_shelves[name] = self
        return self._allowing(allow_pickle)

    def _allowing(self, pickles: Optional[bool]) -> shelf:
        if pickles is not None:
            self._state.allow_pickle = bool(pickles)
        return self

    if TYPE_CHECKING:  # the extension does these
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...
        def __delattr__(self, name: str) -> None: ...

    # --- variables --------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        value = self._opened(name)
        return self._load(_store.check_name(name)) if value is None else value

    def __contains__(self, name: object) -> bool:
        try:
            return bool(self._state.handle.contains(_store.check_name(name)))
        except (TypeError, InvalidArgument):
            return False

    def __len__(self) -> int:
        return len(self._state.handle)

    def __bool__(self) -> bool:
        # An open but empty shelf is not nothing.
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self.get_item_names())

    def __dir__(self) -> list[str]:
        names = self.get_item_names() if self._state.handle.is_open else []
        return sorted({*super().__dir__(), *(name for name in names if name.isidentifier())})

    @property
    def name(self) -> str:
        """Name of the shelf."""
        return str(self._state.handle.name)

    @property
    def items(self) -> list[str]:
        """Names of all variables, in order."""
        return self.get_item_names()

    def get_item_names(self) -> list[str]:
        """Names of all variables, in order."""
        return list(self._state.handle.names("", (1 << 64) - 1))

    def erase(self, name: Union[str, np.ndarray[Any, Any], _values.ShelvedValue, Any]) -> None:
        """Erases a variable, given by its name, or by the array or number or bytes that this shelf gave for
        it (`s.erase(s.x)`). Arrays of it that are in use stay valid; their space is reused after them.

        KeyError when there is no such name. InvalidArgument (a ValueError) for what is not the present
        whole value of a variable of this shelf: another shelf's, one that was replaced, erased or renamed
        since, or a part of an array; and for a string on a shelf, which could be meant as a name.
        """
        del self[name if type(name) is str else _naming.name_of(self, name)]

    def rename(self, old: str, new: str, replace: bool = False) -> None:
        """Renames a variable, without a copy. ExistsError when `new` exists, unless `replace`."""
        with self._changing(_store.check_name(old), _store.check_name(new)):
            try:
                self._state.handle.rename(old, new, replace)
            except NotFound:
                raise KeyError(old) from None

    def copy(self, old: str, new: str, replace: bool = False) -> None:
        """Copies a variable of any kind, with all that is stored through its arrays. Durable and atomic when
        it returns: after a crash `new` is whole, or as it was. The copy is not sealed.

        KeyError when there is no `old`; ExistsError when `new` exists, unless `replace`; NoSpaceError when
        there is no room for both, ReadOnlyError when `new` is sealed. Then nothing has changed. Other
        threads that store to `old` or assign to `new` meanwhile are the caller's business.
        """
        with self._changing(_store.check_name(new)):
            try:
                self._state.handle.copy(_store.check_name(old), new, replace)
            except (KeyError, NotFound):
                raise KeyError(old) from None

    def seal(self, name: str) -> None:
        """Makes a variable immutable and records a checksum of its bytes. Durable when it returns.

        From then on its arrays are read-only, and assigning to its name raises ReadOnlyError; it can be
        renamed and erased. PinnedError (a BufferError) while an array of it that may be written to is in
        use: drop it first. Sealing again does nothing.
        """
        stamp = self._stamp()
        kept = self._opened(_store.check_name(name))
        reference = weakref.ref(kept) if isinstance(kept, _array.shelved_ndarray) or _tensor.is_shelved(kept) else None
        # An array that only this object keeps is in nobody's way.
        kept = None
        with self._changing(name):
            pass
        try:
            with self._changing(name):
                self._state.handle.seal(name)
        except NotFound:
            raise KeyError(name) from None
        except PinnedError:
            used = reference() if reference is not None else None
            if used is not None:
                # Somebody else keeps it, so it stays the one; the changes since are the two above.
                self._remember(name, used, stamp + 4)
            raise

    def batch(self) -> Batch:
        """A `with` block whose changes become durable together; see Batch."""
        return Batch(self)

    def transaction(self, *variables: Any) -> Transaction:
        """A `with` block whose changes, in place as well as by name, become durable together; see Transaction."""
        return Transaction(self, variables)

    def tx_begin(self, variables: Any = ()) -> Transaction:
        """Begins a transaction that tx_end() ends: of the variables that are given, a list of names or arrays, or one.
        Without any, names take part and no stores; see Transaction."""
        return _transaction.begin(self, variables)

    def tx_begin_all(self) -> Transaction:
        """Begins a transaction in which every array takes part that is open, or is opened until tx_end()."""
        return _transaction.begin(self, None)

    def tx_end(self) -> None:
        """Makes what has changed since tx_begin() or tx_begin_all() durable, in one commit. InvalidArgument where this
        thread has begun none. When it fails, all is as it was before."""
        _transaction.end(self)

    def arena(self) -> Arena:
        """A `with` block in which NumPy makes new arrays in this shelf's free space; see Arena."""
        return Arena(self)

    # --- checkpoints ------------------------------------------------------------------------------

    def save(self, obj: Any, name: str, keep: int = 1) -> int:
        """Saves an object as the newest version of checkpoint `name`, and erases all but the `keep` newest ones.
        One commit: after a crash there is the state before, or the one after.

        The object is what can be assigned to a variable: nests of dicts, lists and tuples with arrays, numbers, texts
        in them, or one of these. It takes room for one version more than are kept. Versions are counted
        from 1; the new one's number is returned. Threads may save at once: one after the other.

        TypeError for what a shelf cannot hold, with the place in the nest; NoSpaceError (a MemoryError) when
        there is no room. Then nothing has changed.
        """
        saver: _checkpoints.Saver = self._state.saver
        return saver.save(self, obj, name, keep)

    def save_async(self, obj: Any, name: str, keep: int = 1) -> Future[int]:
        """As save(), in the background: returns when the object has been copied in DRAM, a future of the version's
        number. What is changed in the object afterwards is not saved. One save at a time, in the order
        of the calls; close() waits for them. What save() raises, the future does; TypeError at once."""
        saver: _checkpoints.Saver = self._state.saver
        return saver.save_async(self, obj, name, keep)

    def load(
        self,
        name: str,
        version: int = -1,
        copy: bool = True,
        map_location: Any = None,
        into: Any = None,
        strict: bool = True,
    ) -> Any:
        """The object that was saved as checkpoint `name`: its newest version, or -2, -3 ... for those before, or
        the version of that number.

        With `copy`, plain objects that have nothing to do with the shelf. Without, what a variable gives:
        containers and arrays are read-only views, without a copy however large they are, and their space is not
        reused while somebody has them. KeyError when there is no such checkpoint or version.

        `map_location` is that of `torch.load`: a device, its name ('cuda:1', 'meta'), a dict of such by the names of
        devices, or a function of a storage and a name. On a shelf all tensors are of device 'cpu'. Tensors that go elsewhere
        are copied straight from the shelf; containers are plain then, also without `copy`.

        `into` is a module, or anything else with `load_state_dict()`, to which the state is given, with `strict` if it is a
        module; or a dict of such, for a checkpoint that is a dict. The results are returned: `missing_keys` and
        `unexpected_keys` of a module. A module's parameters are copied once, from the shelf.

        Without a checkpoint of that name, a variable of that name that is a container is loaded.
        """
        return _loading.load(self, name, version, copy, map_location, into, strict)

    def checkpoints(self, name: Optional[str] = None) -> list[Checkpoint]:
        """The versions that there are of a checkpoint, the newest last; without a name, those of all."""
        return _checkpoints.listed(self, name)

    # --- the shelf as a whole ---------------------------------------------------------------------

    @property
    def used(self) -> float:
        """Used space in percent of the capacity."""
        return self.get_percent_used()

    def get_percent_used(self) -> float:
        """Used space in percent of the capacity."""
        stat = self._state.handle.stat()
        return 100.0 * float(stat["used"]) / float(stat["capacity"])

    def persist(self) -> None:
        """Makes all stores through arrays of this shelf durable."""
        self._state.handle.persist()

    def inspect(self, verbose: bool = False) -> _inspect.Report:
        """All variables with type and size; with `verbose` also where each is, its id, and the figures of
        the shelf. A `str` that notebooks and the interpreter show as it is. Nothing is printed; with
        PYMM_DEBUG=2 or more the library's log (stderr) gets it, too."""
        return _inspect.report(self._state.handle, self._state.place, verbose)

    def supported_types(self) -> list[str]:
        """What can be assigned to variables, as Python names it: 'pymm.ndarray', 'numpy.ndarray', 'str' ..."""
        return list(_store.SUPPORTED)

    def close(self) -> None:
        """Makes everything durable and closes the shelf. Arrays of it that are in use stay valid; the lock
        against other writers is kept until the last of them is gone."""
        # It stays in _open_shelves: if views keep the library's shelf alive, opening it again revives
        # that one, and this object with it.
        self._state.saver.finish()
        with self._changing():
            self._forget_all()
            self._state.allow_pickle = False  # whoever revives it has not been given leave
            self._state.handle.close()

    def __enter__(self) -> shelf:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return _table.text(self._state.handle, self._state.place)

    def _repr_html_(self) -> str:
        return _table.html(self._state.handle, self._state.place)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a shelf cannot be copied or pickled: open it by its name where it is needed")

    # --- called by the extension --------------------------------------------------------------------

    def _missing(self, name: str) -> Any:
        """An attribute that is neither ours nor an opened variable."""
        if not (name.startswith("__") and name.endswith("__")):
            try:
                return self._load(_store.check_name(name))
            except (KeyError, InvalidArgument):
                if name in self:  # unpickling it may raise anything
                    raise
        raise AttributeError(f"shelf {self.name!r} has no variable {name!r}", name=name, obj=self)

    def _set_item(self, name: str, value: Any) -> None:
        if isinstance(value, _array.shelved_ndarray) and self._is_variable(name, value):
            # The end of `s['x'] += 1`, which is durable already, or of stores to the array.
            _pymm.settle_array(value)
            return
        if isinstance(value, _containers.ShelvedContainer) and self._is_whole(name, value):
            return  # it is that already, and durable
        handle: _pymm.Handle = self._state.handle
        if isinstance(value, _linked_list.shelved_linked_list) and value.name == name and value.is_on(handle):
            return  # the end of `s.l += [...]`
        if _tensor.is_tensor(value) and _tensor.settles(self, _store.check_name(name), value):
            return
        with self._changing(_store.check_name(name)):
            _store.store(handle, handle, name, value, self._state.allow_pickle)

    def _delete_item(self, name: str) -> None:
        with self._changing(_store.check_name(name)):
            try:
                self._state.handle.erase(name)
            except NotFound:
                raise KeyError(name) from None

    def _assign(self, name: str, value: Any) -> None:
        self._check_attribute(name)
        self._set_item(name, value)

    def _delete(self, name: str) -> None:
        self._check_attribute(name)
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"shelf {self.name!r} has no variable {name!r}", name=name, obj=self) from None

    # --- internal ---------------------------------------------------------------------------------

    def _check_attribute(self, name: str) -> None:
        if _is_ours(type(self), name) or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(
                f"{name!r} is part of pymm.shelf itself: a variable of that name is s[{name!r}]",
                name=name,
                obj=self,
            )

    def _load(self, name: str) -> Any:
        handle: _pymm.Handle = self._state.handle
        stamp = self._stamp()
        block = handle.get(name)
        value = self._value(block)
        # A read-only shelf may be changed by its writer at any time, so nothing of it is kept; nor are tables,
        # matrices and what was pickled: what somebody changes in one is no change of the variable.
        changing = block.kind == _pickled.KIND or (block.kind == _values.TREE and _objects.is_object(value))
        if handle.writable and not _is_ours(type(self), name) and not changing:
            self._remember(name, value, stamp)
            # With every variable open, a name that is not in __dict__ does not exist.
            if type(self) is shelf:
                self._complete(len(handle), stamp)
        return value

    def _open(self, name: str) -> Any:
        """A variable's present value, which nobody keeps."""
        return self._value(self._state.handle.get(name))

    def _value(self, block: _pymm.Block) -> Any:
        value: Any
        if block.kind <= _values.NDARRAY:
            value = _array.from_block(block)
        elif block.kind == _tensor.KIND:
            value = _tensor.from_block(block)
        elif block.kind == _linked_list.KIND:
            value = _linked_list.shelved_linked_list(self._state.handle, block)
        elif block.kind == _pickled.KIND:
            if not self._state.allow_pickle:
                raise _pickled.refused_to_load(block)
            value = _pickled.loaded(block)
        else:
            value = _containers.from_block(block) if block.kind == _values.TREE else _values.decode(block)
            _values.set_origin(value, self, block)
        return value

    def _changing(self, *names: str) -> Change:
        return Change(self, names)

    def _is_whole(self, name: str, value: _containers.ShelvedContainer) -> bool:
        """Whether the container is the present value of the variable."""
        handle: _pymm.Handle = self._state.handle
        if not value.is_whole or value.name != name or not handle.writable:
            return False
        origin, number, sequence = value._origin
        return origin() is self and bool(handle.is_version(name, number, sequence))

    def _is_variable(self, name: str, value: _array.shelved_ndarray) -> bool:
        """Whether `value` is the present value of the variable, and not a view of a part of it."""
        if value is self._opened(name):
            return True
        block = _pymm.block_of(value)
        return (
            block is not None
            and block.kind <= _values.NDARRAY  # else it is in a container
            and bool(self._state.handle.is_current(_store.check_name(name), block))
            and value.__array_interface__["data"][0] == block.address
            and value.shape == block.shape
            and value.strides == block.strides
            and value.dtype == _array.from_block(block).dtype
        )


class _complete(shelf):
    """A shelf whose variables are all open. Its attributes are those of any Python object, so that the
    interpreter's inline caches apply: `s.x` is as fast as an attribute can be."""

    __slots__ = ()
    __getattribute__ = object.__getattribute__


_complete.__name__ = _complete.__qualname__ = "shelf"
_pymm.ShelfBase._use_classes(shelf, _complete)


@lru_cache(maxsize=None)
def _our_names(cls: type[Any]) -> frozenset[str]:
    return frozenset(name for base in cls.__mro__ for name in base.__dict__)


def _is_ours(cls: type[shelf], name: str) -> bool:
    return name in _our_names(cls)  # type: ignore[arg-type, unused-ignore]


@atexit.register
def _close_all() -> None:
    for one in list(_open_shelves.values()):
        try:
            one.close()
        except Error:
            # What was acknowledged is on the shelf; the next open finds it.
            pass
