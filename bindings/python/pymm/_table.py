"""How shelves show themselves."""

from __future__ import annotations

from typing import Any, Container, Sequence

_ROWS = 30
_HEAD = ("name", "type", "shape", "size")


def size_text(size: float) -> str:
    """Bytes for people: 7.6 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def shown(text: str) -> str:
    """Names may hold line breaks and escape sequences, and a damaged shelf's types anything."""
    return text if text.isprintable() else repr(text)


def _rows(handle: Any) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, kind, dtype, shape, size in handle.table(_ROWS):
        kind_text = dtype if kind in ("ndarray", "scalar") else f"tensor {dtype}" if kind == "tensor" else kind
        if len(kind_text) > 40:
            kind_text = kind_text[:37] + "..."
        rows.append((shown(name), shown(kind_text), str(shape) if kind in ("ndarray", "tensor") else "", size_text(size)))
    return rows


def head(handle: Any, place: str) -> str:
    """One line about a shelf as a whole; `place` is where it is."""
    stat = handle.stat()
    count = stat["blobs"]
    mode = "" if handle.writable else ", read-only"
    return (
        f"shelf {handle.name!r} in {place}: {count} variable{'' if count == 1 else 's'}, "
        f"{size_text(stat['used'])} of {size_text(stat['capacity'])} used{mode}"
    )


def _tail(handle: Any, rows: Sequence[Any]) -> str:
    more = len(handle) - len(rows)
    return f"... and {more} more" if more > 0 else ""


def closed(handle: Any, place: str) -> str:
    """What is left to say of a closed shelf."""
    return f"shelf {handle.name!r} in {place}: closed"


def grid(rows: Sequence[Sequence[str]], right: Container[int]) -> list[str]:
    """Lines of columns; those whose numbers are in `right` end at the same place."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [cell.rjust(w) if i in right else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def text(handle: Any, place: str) -> str:
    """The table in plain text."""
    if not handle.is_open:
        return closed(handle, place)
    rows = _rows(handle)
    lines = [head(handle, place)]
    if rows:
        lines += grid([_HEAD, *rows], right=(3,))
    tail = _tail(handle, rows)
    if tail:
        lines.append("  " + tail)
    return "\n".join(lines)


def html(handle: Any, place: str) -> str:
    """The table for notebooks."""
    from html import escape  # notebooks have it; others need not wait for it

    if not handle.is_open:
        return f"<p>{escape(closed(handle, place))}</p>"
    rows = _rows(handle)
    parts = [f"<p>{escape(head(handle, place))}</p>"]
    if rows:
        parts.append("<table><thead><tr>")
        parts += [f"<th>{title}</th>" for title in _HEAD]
        parts.append("</tr></thead><tbody>")
        for row in rows:
            parts.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
        parts.append("</tbody></table>")
    tail = _tail(handle, rows)
    if tail:
        parts.append(f"<p>{escape(tail)}</p>")
    return "".join(parts)
