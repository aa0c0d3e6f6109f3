"""Arrays that a test module makes become arrays on a shelf.

Nothing of NumPy is patched: its own functions, `numpy.testing` among them, make plain arrays as ever. What changes is
the names in one test module: `np` becomes a namespace that looks like NumPy, and what makes arrays in it puts them on a
shelf.
"""

import collections
import contextlib
import functools
import itertools
import operator
import sys
import types

import numpy

import pymm

# Functions that make an array of their own. asarray() and its like may give back their argument; what is left out
# besides (concatenate, where ...) computes: plain arrays, also from shelved ones.
MAKERS = (
    "arange",
    "array",
    "copy",
    "empty",
    "empty_like",
    "eye",
    "fromfunction",
    "fromiter",
    "full",
    "full_like",
    "geomspace",
    "identity",
    "linspace",
    "logspace",
    "ones",
    "ones_like",
    "tri",
    "zeros",
    "zeros_like",
)


def _references_of_a_new_one():
    array = numpy.zeros(1)
    return sys.getrefcount(array)


FRESH = _references_of_a_new_one()
AT_ONCE = 1000  # variables; some tests make arrays by the hundred thousand
LARGEST = 8 << 20  # bytes; the few tests with more say nothing about a shelf


class Shelves:
    """Puts arrays on a shelf, and counts them."""

    def __init__(self, path):
        self.shelf = pymm.shelf("numpy_suite", pmem_path=path, size_mb=256, force_new=True)
        self.substituted = 0
        self.left_plain = collections.Counter()  # by reason
        self._names = []
        self._number = itertools.count()

    def shelved(self, array):
        """The array on a shelf, or itself where it cannot be there."""
        if type(array) is not numpy.ndarray:
            return array
        reason = self._reason(array)
        if reason:
            self.left_plain[reason] += 1
            return array
        if len(self._names) == AT_ONCE:
            self.erase()
        name = f"v{next(self._number)}"
        self.shelf[name] = array
        self._names.append(name)
        # self.shelf[name] is the same, but also kept by the shelf, which tests of references notice.
        result = pymm._array.from_block(self.shelf._state.handle.get(name))
        assert type(result) is pymm.ndarray.shelved_ndarray and result.name == name
        self.substituted += 1
        return result

    @staticmethod
    def _reason(array):
        flags, dtype = array.flags, array.dtype
        if array.base is not None or not flags.owndata:
            return "a view of other memory"
        if dtype.hasobject:
            return "dtype object"
        if not (flags.c_contiguous or flags.f_contiguous):
            return "an order of axes that is neither C nor Fortran"
        if array.nbytes > LARGEST:
            return "large"
        try:
            stored = pymm._dtype.decode(pymm._dtype.encode(dtype), dtype.itemsize)
        except TypeError:
            return "a dtype that cannot be stored"
        # Equal to NumPy are `long` and `long long`, records and structures, aligned ones and others, with metadata and
        # without. The .npy format does not tell them apart either.
        kept = operator.attrgetter("type", "char", "isalignedstruct", "metadata")
        return "" if kept(stored) == kept(dtype) else "a dtype of which a detail is not stored"

    def erase(self):
        """At the end of a test: erases its variables. Arrays that outlive them stay valid."""
        if self._names:
            with self.shelf.batch() as batch:
                for name in self._names:
                    del batch[name]
            self._names.clear()

    def close(self):
        self.shelf.close()


class Namespace(types.ModuleType):
    """Looks like NumPy."""

    def __init__(self, shelves):
        super().__init__("numpy")
        self.__dict__.clear()  # __name__, __doc__ ...: NumPy's
        for name in MAKERS:
            self.__dict__[name] = maker(getattr(numpy, name), shelves)

    def __getattribute__(self, name):
        own = super().__getattribute__("__dict__")
        return own if name == "__dict__" else own[name] if name in own else getattr(numpy, name)

    def __setattr__(self, name, value):
        setattr(numpy, name, value)

    def __delattr__(self, name):
        delattr(numpy, name)

    def __dir__(self):
        return dir(numpy)


def maker(function, shelves):
    @functools.wraps(function)
    def make(*args, **kwargs):
        array = function(*args, **kwargs)
        # array(x, copy=None) may give back x.
        return shelves.shelved(array) if sys.getrefcount(array) == FRESH else array

    return make


def replacements(namespace):
    """What a module may have under another name, by identity."""
    return {id(numpy): namespace, **{id(getattr(numpy, name)): namespace.__dict__[name] for name in MAKERS}}


@contextlib.contextmanager
def substituted(module, namespace):
    """In this block the module sees the namespace wherever it imported NumPy or one of its makers."""
    instead = replacements(namespace)
    before = {name: value for name, value in module.__dict__.items() if id(value) in instead}
    module.__dict__.update((name, instead[id(value)]) for name, value in before.items())
    try:
        yield
    finally:
        module.__dict__.update(before)


def parameters(values, namespace, shelves):
    """Arguments of a test: arrays among them (and in their lists and tuples) on a shelf, makers of such."""
    instead = replacements(namespace)

    def convert(value):
        if type(value) is list:
            return [convert(item) for item in value]
        if type(value) is tuple:
            return tuple(convert(item) for item in value)
        return instead.get(id(value)) or shelves.shelved(value)

    return {name: convert(value) for name, value in values.items()}
