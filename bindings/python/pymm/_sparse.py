"""Sparse matrices and arrays of SciPy, taken apart into arrays and made again of arrays on a shelf (docs/FORMAT.md,
"Objects")."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import scipy  # type: ignore[import-untyped, import-not-found, unused-ignore]
import scipy.sparse as sparse  # type: ignore[import-untyped, import-not-found, unused-ignore]

from ._objects import Missing, Parts, part

# Arrays of each format, by the names of SciPy's attributes.
_FORMATS: dict[str, tuple[str, ...]] = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "bsr": ("data", "indices", "indptr"),
    "dia": ("data", "offsets"),
    "coo": ("data",),
}
_CLASSES = {
    f"{form}_{kind}": getattr(sparse, f"{form}_{kind}")
    for form in _FORMATS
    for kind in ("matrix", "array")
    if hasattr(sparse, f"{form}_{kind}")  # arrays came with SciPy 1.8
}


def version() -> str:
    return str(scipy.__version__)


def is_stored(value: Any) -> bool:
    return type(value) in _CLASSES.values()


def advice(value: Any) -> str:
    if sparse.issparse(value):
        return "convert it: value.tocsr()"
    return "of SciPy, sparse matrices and arrays can be stored"


def copied(value: Any) -> Any:
    return value.copy()


def _coordinates(value: Any) -> tuple[Any, ...]:
    found = getattr(value, "coords", None)  # since SciPy 1.13
    return (value.row, value.col) if found is None else tuple(found)


def taken_apart(value: Any) -> Parts:
    parts: dict[str, Any] = {"shape": tuple(map(int, value.shape))}
    for name in _FORMATS[value.format]:
        parts[name] = getattr(value, name)
    if value.format == "coo":
        parts["coords"] = _coordinates(value)
    return Parts(f"scipy.sparse.{type(value).__name__}", parts)


def _array(parts: dict[str, Any], key: str, dimensions: int) -> Any:
    array = part(parts, key, np.ndarray)
    if array.ndim != dimensions:
        raise Missing(f"{key!r} has {array.ndim} dimensions")
    return np.ndarray.view(array, np.ndarray)


def _indices(array: Any, bound: int, what: str) -> Any:
    """SciPy does not look at indices when it uses them."""
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind != "i":
        raise Missing(f"{what} are no indices")
    plain = np.ndarray.view(array, np.ndarray)
    if plain.size and not (0 <= plain.min() and plain.max() < bound):
        raise Missing(f"{what} are not all from 0 to {bound}")
    return plain


def _shape(parts: dict[str, Any]) -> tuple[int, ...]:
    shape: tuple[Any, ...] = part(parts, "shape", tuple)
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise Missing(f"{shape} is no shape")
    return shape


def _maker(name: str) -> Callable[[dict[str, Any]], Any]:
    cls, form = _CLASSES[name], name[:3]

    def compressed(parts: dict[str, Any]) -> Any:
        shape = _shape(parts)
        data = _array(parts, "data", 3 if form == "bsr" else 1)
        major, minor = (shape[-1], shape[0]) if form == "csc" else (shape[0], shape[-1])
        if len(shape) == 1:
            major = 1
        if form == "bsr":
            rows, columns = data.shape[1:]
            if not rows or not columns or major % rows or minor % columns:
                raise Missing(f"blocks of {rows} by {columns} in a matrix of shape {shape}")
            major, minor = major // rows, minor // columns
        indices = _indices(part(parts, "indices"), minor, "indices")
        pointers = _indices(part(parts, "indptr"), len(data) + 1, "indptr")
        if (
            len(indices) != len(data)
            or len(pointers) != major + 1
            or pointers[0] != 0
            or pointers[-1] != len(data)
            or (pointers[1:] < pointers[:-1]).any()
        ):
            raise Missing("the parts do not agree")
        return cls((data, indices, pointers), shape=shape, copy=False)

    def diagonal(parts: dict[str, Any]) -> Any:
        shape, data = _shape(parts), _array(parts, "data", 2)
        offsets = _array(parts, "offsets", 1)
        if offsets.dtype.kind != "i" or len(offsets) != len(data) or len(set(offsets.tolist())) != len(offsets):
            raise Missing("the parts do not agree")
        return cls((data, offsets), shape=shape, copy=False)

    def coordinates(parts: dict[str, Any]) -> Any:
        shape, data = _shape(parts), _array(parts, "data", 1)
        coords = part(parts, "coords", tuple)
        found = tuple(_indices(each, bound, "coords") for each, bound in zip(coords, shape))
        if not len(found) == len(coords) == len(shape) or any(len(each) != len(data) for each in found):
            raise Missing("the parts do not agree")
        return cls((data, found), shape=shape, copy=False)

    return diagonal if form == "dia" else coordinates if form == "coo" else compressed


MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {f"scipy.sparse.{name}": _maker(name) for name in _CLASSES}
