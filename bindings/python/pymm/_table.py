"""How shelves show themselves."""

from __future__ import annotations

from typing import Any, Sequence

_ROWS = 30
_HEAD = ("name", "type", "shape", "size")


def size_text(size: float) -> str:
    """Bytes for people: 7.6 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _rows(handle: Any) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, kind, dtype, shape, size in handle.table(_ROWS):
        kind_text = dtype if kind in ("ndarray", "scalar") else kind
        if len(kind_text) > 40:
            kind_text = kind_text[:37] + "..."
        rows.append((name, kind_text, str(shape) if kind == "ndarray" else "", size_text(size)))
    return rows


def _head(handle: Any) -> str:
    stat = handle.stat()
    count = stat["blobs"]
    mode = "" if handle.writable else ", read-only"
    return (
        f"shelf {handle.name!r} in {handle.path}: {count} variable{'' if count == 1 else 's'}, "
        f"{size_text(stat['used'])} of {size_text(stat['capacity'])} used{mode}"
    )


def _tail(handle: Any, rows: Sequence[Any]) -> str:
    more = len(handle) - len(rows)
    return f"... and {more} more" if more > 0 else ""


def closed(handle: Any) -> str:
    """What is left to say of a closed shelf."""
    return f"shelf {handle.name!r} in {handle.path}: closed"


def text(handle: Any) -> str:
    """The table in plain text."""
    if not handle.is_open:
        return closed(handle)
    rows = _rows(handle)
    lines = [_head(handle)]
    if rows:
        widths = [max(len(row[i]) for row in [_HEAD, *rows]) for i in range(4)]
        for row in [_HEAD, *rows]:
            cells = [row[i].rjust(widths[i]) if i == 3 else row[i].ljust(widths[i]) for i in range(4)]
            lines.append("  " + "  ".join(cells))
    tail = _tail(handle, rows)
    if tail:
        lines.append("  " + tail)
    return "\n".join(lines)


def html(handle: Any) -> str:
    """The table for notebooks."""
    from html import escape  # notebooks have it; others need not wait for it

    if not handle.is_open:
        return f"<p>{escape(closed(handle))}</p>"
    rows = _rows(handle)
    parts = [f"<p>{escape(_head(handle))}</p>"]
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
