"""Constructors that say the type of a value: `s.x = pymm.string('hello')` is `s.x = 'hello'`.

IBM's PyMM had them, and scripts written for it use them. They check and convert; what the shelf holds
and gives back is the same as after a plain assignment, so that `isinstance(s.x,
pymm.string.shelved_string)` is true of both.
"""

from __future__ import annotations

import builtins
from typing import Any, Iterable, Optional, SupportsFloat, SupportsIndex, SupportsInt, Union

from . import _values

Bytes = Union[builtins.bytes, bytearray, memoryview]


class Constructor:
    """Base of the constructors. `value` is what will be stored."""

    __slots__ = ("value",)

    value: Any

    def __repr__(self) -> str:
        return f"pymm.{type(self).__name__}({self.value!r})"


class string(Constructor):
    """A `str` to be put on a shelf.

    >>> s.x = pymm.string('hello')

    Parameters
    ----------
    text
        A `str`, or a bytes-like object in `encoding`, which is decoded.
    encoding
        Any codec of Python's. Shelves hold UTF-8, so the encoding costs and saves nothing there: what
        comes back is the same `str`, and its `encoding` is 'utf-8'. It is a promise that is checked:
        UnicodeEncodeError when the text has characters that the encoding has not, UnicodeDecodeError
        when bytes are not in it, LookupError when there is no such encoding.
    """

    shelved_string = _values.shelved_string

    __slots__ = ()

    def __init__(self, text: Union[str, Bytes], encoding: str = "utf-8") -> None:
        if isinstance(text, (builtins.bytes, bytearray, memoryview)):
            self.value = str(text, encoding)
            return
        if not isinstance(text, str):
            raise TypeError(f"a string is made of str or bytes, not {type(text).__name__}")
        self.value = str(text)
        # Shelves hold any str, lone surrogates too: only what was asked for is checked.
        if encoding != "utf-8":
            self.value.encode(encoding)


class bytes(Constructor):
    """A `bytes` to be put on a shelf. The parameters are those of Python's `bytes`.

    >>> s.x = pymm.bytes(b'hello')
    >>> s.x = pymm.bytes('hello', 'utf-8')
    >>> s.x = pymm.bytes([1, 2, 3])

    Raises what `bytes` raises: TypeError for text without an encoding, ValueError for a number outside
    0 to 255. A lone number, which Python takes for a count of zeros, is a TypeError.
    """

    shelved_bytes = _values.shelved_bytes

    __slots__ = ()

    def __init__(
        self,
        source: Union[str, Bytes, Iterable[SupportsIndex]] = b"",
        encoding: Optional[str] = None,
        errors: Optional[str] = None,
    ) -> None:
        if isinstance(source, int):
            raise TypeError(f"bytes of what? For {source} zeros say pymm.bytes(bytes({source}))")
        options = {k: v for k, v in (("encoding", encoding), ("errors", errors)) if v is not None}
        self.value = builtins.bytes(source, **options)  # type: ignore[arg-type, call-overload, unused-ignore]


class float_number(Constructor):
    """A `float` to be put on a shelf: `float(number)`, IEEE 754 binary64.

    >>> s.x = pymm.float_number(1.5)

    Raises what `float` raises: ValueError for text that is no number, OverflowError for an integer beyond
    the largest float.
    """

    shelved_float_number = _values.shelved_float_number

    __slots__ = ()

    def __init__(self, number: Union[SupportsFloat, SupportsIndex, str]) -> None:
        self.value = float(number)


class integer_number(Constructor):
    """An `int` of any size to be put on a shelf: `int(number)`, which drops a fraction.

    >>> s.x = pymm.integer_number(10**400)

    Raises what `int` raises: ValueError for NaN and for text that is no number, OverflowError for infinity.
    """

    shelved_integer_number = _values.shelved_integer_number

    __slots__ = ()

    def __init__(self, number: Union[SupportsInt, SupportsIndex, str]) -> None:
        self.value = int(number)
