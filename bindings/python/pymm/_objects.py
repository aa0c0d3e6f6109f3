"""Objects of other packages: tables of pandas, sparse matrices of SciPy. Nothing here imports those packages before
there is such an object, in Python or on a shelf.

What is stored is an object's name and a dict of its parts (docs/FORMAT.md, "Objects"): arrays, numbers, texts, and
parts that are objects themselves.
"""

from __future__ import annotations

import importlib
from typing import Any, Callable, NamedTuple

from ._errors import CorruptError, VersionError


class Parts(NamedTuple):
    """An object taken apart: what a tree holds of it."""

    name: str
    parts: dict[str, Any]


class Missing(ValueError):
    """A part that an object does not have, or one of another type."""


def part(parts: dict[str, Any], key: str, *types: type[Any]) -> Any:
    """One of the parts that were read from a shelf, of one of these types."""
    if type(parts) is not dict or key not in parts:
        raise Missing(f"there is no {key!r}")
    value = parts[key]
    if types and (not isinstance(value, types) or (type(value) is bool and bool not in types)):
        raise Missing(f"{key!r} is a {type(value).__name__}")
    return value


_MODULES = {"pandas": "._pandas", "scipy": "._sparse"}


def _module_of(cls: type[Any]) -> Any:
    """The module of ours that knows the class's package; None for most classes."""
    name = _MODULES.get(cls.__module__.partition(".")[0])
    return None if name is None else importlib.import_module(name, __package__)


def is_object(value: Any) -> bool:
    """Whether it is stored as an object."""
    module = _module_of(type(value))
    return module is not None and bool(module.is_stored(value))


def advice(value: Any) -> str:
    """What to do with an object of such a package that cannot be stored; "" for others."""
    for cls in type(value).__mro__:
        module = _module_of(cls)
        if module is not None:
            text: str = module.advice(value)
            return text
    return ""


def taken_apart(value: Any) -> Parts:
    """Of what is_object() says yes to. TypeError where something in it cannot be stored."""
    found: Parts = _module_of(type(value)).taken_apart(value)
    return found


def copied(value: Any) -> Any:
    """The object with copies of all in it that can change."""
    return _module_of(type(value)).copied(value)


def make(variable: str, found: Parts) -> Any:
    """The object of parts that were read from a shelf. ImportError when its package is not here, CorruptError when
    they are no such parts, VersionError for an object that is not known."""
    package = found.name.partition(".")[0]
    if package not in _MODULES:
        raise VersionError(
            f"variable {variable!r} holds an object {found.name[:80]!r}, which this program does not know: use a newer one"
        )
    try:
        module = importlib.import_module(_MODULES[package], __package__)
    except ImportError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        raise ImportError(
            f"variable {variable!r} is a {found.name}, and {package} cannot be imported here ({error}): install it "
            f"(`pip install {package}`); `pymmctl cat` shows what is in it",
            name=package,
        ) from error
    maker: Callable[[dict[str, Any]], Any] | None = module.MAKERS.get(found.name)
    if maker is None:
        raise VersionError(
            f"variable {variable!r} holds an object {found.name[:80]!r}, which this program does not know: use a newer one"
        )
    try:
        return maker(found.parts)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # the package meets parts that were never taken from it: it may raise anything
        what = str(error) if isinstance(error, Missing) else f"{type(error).__name__}: {error}"
        raise CorruptError(
            f"variable {variable!r} cannot be made a {found.name} with {package} {module.version()}: {what}"
        ) from error
