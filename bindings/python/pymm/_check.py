"""Checking shelves, and repairing them: what pymmctl fsck does, from Python."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterator, Optional

from . import _pymm
from ._errors import Error, NotFound, made_here
from ._paths import PathLike, resolve

if TYPE_CHECKING:
    from typing import Literal

    Repair = Literal["safe", "all"]

_OPERATIONAL = 8  # fsck(8)


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be. `str()` of it is one line."""

    error: bool  # False: a note, normal or harmless
    structure: str  # "superblock copy 0", "log commit 17", "run 12 page 3", ...
    file: str
    offset: int  # in the file
    expected: str
    found: str
    blob: str  # the variable concerned; '' if none
    corrected: bool
    action: str  # what was done, or can be; '' if nothing
    message: str

    def __str__(self) -> str:
        return ("error: " if self.error else "note: ") + self.message


@dataclass(frozen=True)
class Leftover:
    """Something in the directory that is no whole shelf."""

    file: str
    kind: str  # 'temporary', 'unfinished', 'orphan' or 'backup'
    shelf: str
    text: str

    def __str__(self) -> str:
        return f"note: {self.file}: {self.text}"


@dataclass(frozen=True)
class ShelfReport:
    """What the check of one shelf found."""

    name: str
    findings: tuple[Finding, ...] = ()
    exit_code: int = 0
    problem: str = ""  # why it could not be checked
    omitted: int = 0  # findings beyond the first 10,000
    blobs: int = 0  # variables that can be read, after repair
    bytes: int = 0  # allocated to them
    metadata: int = 0
    leaked: int = 0  # bytes that no variable has
    scrubbed: int = 0  # variables whose content checksum was verified
    scrubbed_bytes: int = 0
    unverified: int = 0  # variables without one
    salvaged: int = 0  # taken over into a new catalogue
    lost_found: int = 0  # put under lost+found/
    lost: int = 0  # names known to be lost
    repaired: bool = False
    reopen: bool = False  # another process must open the shelf again
    backup: str = ""  # where what was replaced is

    @property
    def clean(self) -> bool:
        """No errors: there were none."""
        return self.exit_code == 0


@dataclass(frozen=True)
class CheckReport:
    """What `fsck` found: one ShelfReport per shelf, and what else lies in the directory. True if clean."""

    path: str
    shelves: tuple[ShelfReport, ...]
    leftovers: tuple[Leftover, ...]

    @property
    def findings(self) -> list[Finding]:
        """Those of all shelves."""
        return [finding for shelf in self.shelves for finding in shelf.findings]

    @property
    def exit_code(self) -> int:
        """As fsck(8): 0 clean, 1 corrected, 2 to be opened again, 4 errors left, 8 not checked; combined by or."""
        code = 0
        for shelf in self.shelves:
            code |= shelf.exit_code
        return code

    @property
    def clean(self) -> bool:
        """No shelf had errors, and all were checked."""
        return self.exit_code == 0

    def __bool__(self) -> bool:
        return self.clean

    def __getitem__(self, name: str) -> ShelfReport:
        for shelf in self.shelves:
            if shelf.name == name:
                return shelf
        raise KeyError(name)

    def __iter__(self) -> Iterator[ShelfReport]:
        return iter(self.shelves)

    def __len__(self) -> int:
        return len(self.shelves)

    def __repr__(self) -> str:
        errors = sum(finding.error for finding in self.findings)
        left = sum(finding.error and not finding.corrected for finding in self.findings)
        failed = sum(bool(shelf.problem) for shelf in self.shelves)
        text = f"{len(self.shelves)} shelves" if len(self.shelves) != 1 else "1 shelf"
        text += ", clean" if self.clean else f", {errors} errors, {left} left"
        if failed:
            text += f", {failed} not checked"
        return f"<pymm.CheckReport of {self.path!r}: {text}>"

    def __str__(self) -> str:
        lines = [repr(self)]
        for shelf in self.shelves:
            lines += [str(finding) for finding in shelf.findings]
            if shelf.problem:
                lines.append(f"error: {shelf.problem}")
        return "\n".join(lines + [str(leftover) for leftover in self.leftovers])


def _check(path: str, name: str, repair: Optional[str], scrub: bool) -> ShelfReport:
    raw: dict[str, Any] = _pymm.check_shelf(path, name, repair or "", scrub)
    findings = tuple(Finding(**finding) for finding in raw.pop("findings"))
    return ShelfReport(name=name, findings=findings, **raw)


def _leftovers(path: str) -> tuple[Leftover, ...]:
    return tuple(Leftover(*item) for item in _pymm.leftovers(path))


def _hinted(error: NotFound, path: str) -> Error:
    """Says how to check one shelf to who gave its path, as pymmctl takes it."""
    folder, name = os.path.split(path.rstrip("/"))
    try:
        known = name in _pymm.shelf_names(folder or ".")
    except Error:
        known = False
    if not known:
        return error
    return made_here(
        NotFound, f"{path} is a shelf, not a directory of shelves: check it by fsck({folder or '.'!r}, name={name!r})"
    )


def fsck(
    pmem_path: Optional[PathLike] = None,
    name: Optional[str] = None,
    repair: Optional[Repair] = None,
    scrub: bool = False,
) -> CheckReport:
    """Checks the shelf `name`, or all shelves of the directory `pmem_path`.

    >>> report = pymm.fsck('/mnt/pmem0')
    >>> report.clean, report.exit_code
    (True, 0)

    Without `repair` nothing is changed, and shelves that are in use may be checked. `repair='safe'` mends what
    needs no guess; `repair='all'` also makes a damaged or lost catalogue anew from what is left, and what cannot
    be told for certain goes under `lost+found/`. What a repair replaces is saved first; see `.backup`. `scrub=True`
    reads all data and verifies the content checksums of variables that have one.

    Damage is reported, not raised. Of one shelf, errors are raised when it cannot be checked at all: NotFound,
    BusyError (repair of a shelf that somebody writes), VersionError, IoError. Of all, they are in `.problem`.
    """
    if repair not in (None, "safe", "all"):
        raise ValueError(f"repair is {repair!r}; give None, 'safe' or 'all'")
    path = resolve(pmem_path)
    if name is not None:
        return CheckReport(path, (_check(path, name, repair, scrub),), ())
    try:
        found = _pymm.shelf_names(path)
    except NotFound as error:
        raise _hinted(error, path) from None
    names = {*found, *(item.shelf for item in _leftovers(path) if item.kind == "orphan")}
    shelves: list[ShelfReport] = []
    for each in sorted(names, key=lambda text: text.encode(errors="surrogateescape")):
        try:
            shelves.append(_check(path, each, repair, scrub))
        except Error as error:
            shelves.append(ShelfReport(name=each, exit_code=_OPERATIONAL, problem=str(error)))
    # As they are now: a repair takes orphans in, and leaves a backup.
    return CheckReport(path, tuple(shelves), _leftovers(path))
