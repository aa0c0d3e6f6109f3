"""Exceptions: one hierarchy below `Error`, each class also the nearest built-in one."""

from __future__ import annotations

import errno

__all__ = [
    "BusyError",
    "ClosedError",
    "CorruptError",
    "Error",
    "ExistsError",
    "InvalidArgument",
    "IoError",
    "NoSpaceError",
    "NotFound",
    "OutOfRange",
    "PickleRefused",
    "PinnedError",
    "ReadOnlyError",
    "VersionError",
]


class Error(RuntimeError):
    """Base of all exceptions of pymm, except those that Python itself expects: a missing variable is
    AttributeError or KeyError, a value of an unsupported type is TypeError."""


class InvalidArgument(Error, ValueError):
    """A name, size or option that can never be right."""


class OutOfRange(Error, IndexError):
    """There is no element of that number."""


class NotFound(Error, FileNotFoundError):
    """No such namespace or shelf."""


class ExistsError(Error, FileExistsError):
    """The name is taken."""


class BusyError(Error, BlockingIOError):
    """The shelf is open for writing elsewhere, or views of it are still in use here."""


class NoSpaceError(Error, MemoryError):
    """The shelf, the file system or the device is full. Nothing has changed."""


class CorruptError(Error, ValueError):
    """Damaged or foreign media: a check failed."""


class VersionError(Error, ValueError):
    """Written by a newer version."""


class ReadOnlyError(Error, PermissionError):
    """Opened read-only, on read-only media, or read-only since an I/O error."""


class IoError(Error, OSError):
    """The operating system reported an error: see `errno`."""


class PinnedError(Error, BufferError):
    """A view that is in use forbids the operation."""


class PickleRefused(Error, ValueError):
    """A pickled object is to be stored or loaded, and nobody said allow_pickle=True."""


class ClosedError(Error, ValueError):
    """The shelf was closed, or belongs to the parent of a forked process."""


# In the order of pymm::Code (lib/include/pymm/error.hpp), with the errno where it is always the same.
_BY_CODE: list[tuple[type[Error], int]] = [
    (InvalidArgument, 0),
    (NotFound, errno.ENOENT),
    (ExistsError, errno.EEXIST),
    (BusyError, errno.EAGAIN),
    (NoSpaceError, 0),
    (CorruptError, 0),
    (VersionError, 0),
    (ReadOnlyError, errno.EROFS),
    (IoError, errno.EIO),
    (PinnedError, 0),
    (ClosedError, 0),
]


def from_code(code: int, message: str, os_error: int) -> Error:
    """The exception for an error of the library. Called by the extension."""
    cls, usual = _BY_CODE[code] if 0 <= code < len(_BY_CODE) else (Error, 0)
    return _filled(cls, message, os_error or usual)


def made_here(cls: type[Error], message: str) -> Error:
    """The exception for an error that this module finds, as those of the library are."""
    return _filled(cls, message, dict(_BY_CODE).get(cls, 0))


def _filled(cls: type[Error], message: str, number: int) -> Error:
    error = cls(message)
    # Of several bases the first makes the object, so OSError has not seen its arguments.
    if isinstance(error, OSError):
        error.errno = number
        error.strerror = message
    return error
