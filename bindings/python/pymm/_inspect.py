"""What `shelf.inspect()` reports."""

from __future__ import annotations

import time
from typing import Any

from . import _pymm, _table


class Report(str):
    """Text that shows itself as it is: in the interpreter without quotes, in notebooks in columns."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str.__str__(self)

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str.__str__(self))}</pre>"


def report(handle: Any, place: str, verbose: bool) -> Report:
    """The report on an open shelf; ClosedError on another."""
    lines = [_table.head(handle, place)]
    entries = handle.entries()
    if verbose:
        stat = handle.stat()
        lines.append(
            f"  uuid {stat['uuid']}, commit {stat['sequence']}, granularity {stat['granularity']}, "
            f"checksums of {'every assignment' if stat['checksum'] else 'sealed variables'}"
        )
    if entries:
        rows = [_HEAD + (_MORE if verbose else ())]
        rows += [_row(entry) + (_more(entry) if verbose else ()) for entry in entries]
        lines += _table.grid(rows, right=(2, 3, 4, 5, 6))
    text = "\n".join(lines)
    _pymm.log_debug(text)
    return Report(text)


_HEAD: tuple[str, ...] = ("name", "type", "bytes")
_MORE = ("id", "commit", "offset", "extent", "modified", "state")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (_table.shown(entry["name"]), _table.shown(entry["type"]), str(entry["size"]))


def _more(entry: dict[str, Any]) -> tuple[str, ...]:
    inside = entry["offset"] is None
    state = ["sealed"] if entry["sealed"] else []
    if entry["checksum"] is not None:
        state.append(f"crc32c {entry['checksum']:#010x}")
    return (
        str(entry["id"]),
        str(entry["sequence"]),
        "catalogue" if inside else str(entry["offset"]),
        "" if inside else str(entry["extent"]),
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["modified"])),
        ", ".join(state),
    )
