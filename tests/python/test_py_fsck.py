"""pymm.fsck(): what a check found, as objects. What a check finds is tested in C++."""

import os
import threading

import numpy as np
import pytest

import pymm


@pytest.fixture
def filled(namespace):
    s = pymm.shelf("test", pmem_path=namespace, size_mb=16)
    s.x = np.arange(10_000)
    s.note = "kept"
    s.close()
    return namespace


def damage(namespace, offset=4096 + 60):
    with open(os.path.join(namespace, "test.map"), "r+b") as f:
        f.seek(offset)
        f.write(b"damage")


def test_clean(filled):
    report = pymm.fsck(filled, "test")
    assert isinstance(report, pymm.CheckReport)
    assert report.clean and report and report.exit_code == 0
    assert report.findings == []
    shelf = report["test"]
    assert (shelf.name, shelf.blobs, shelf.clean, shelf.repaired, shelf.backup) == ("test", 2, True, False, "")
    assert shelf.bytes >= 80_000
    assert repr(report) == f"<pymm.CheckReport of {filled!r}: 1 shelf, clean>"
    with pytest.raises(KeyError):
        report["another"]


def test_all_shelves(filled):
    pymm.shelf("second", pmem_path=filled, size_mb=4).close()
    report = pymm.fsck(filled)
    assert [shelf.name for shelf in report] == ["second", "test"] and len(report) == 2
    assert report.leftovers == ()
    with open(os.path.join(filled, ".third.map.0123456789abcdef"), "wb"):
        pass
    (leftover,) = pymm.fsck(filled).leftovers
    assert (leftover.kind, leftover.shelf) == ("temporary", "third")
    assert str(leftover).startswith("note: .third.map.0123456789abcdef: ")


def test_damage(filled):
    damage(filled)
    report = pymm.fsck(filled)
    assert not report and report.exit_code == 4
    (finding,) = [f for f in report.findings if f.error]
    assert isinstance(finding, pymm.Finding)
    assert finding.structure == "superblock copy 1" and finding.file == os.path.join(filled, "test.map")
    assert finding.offset >= 4096 and finding.expected and finding.found and not finding.corrected
    assert str(finding) == f"error: {finding.message}" and finding.structure in finding.message
    assert repr(report).endswith("1 shelf, 1 errors, 1 left>")
    assert str(finding) in str(report).splitlines()
    # Nothing was changed: it is there again, and the shelf opens by its other superblock.
    assert pymm.fsck(filled).exit_code == 4
    assert pymm.shelf("test", pmem_path=filled, mode="r").note == "kept"


def test_repair(filled):
    damage(filled)
    report = pymm.fsck(filled, repair="safe")
    assert report.exit_code == 1 and not report.clean and report["test"].repaired
    (finding,) = [f for f in report.findings if f.error]
    assert finding.corrected and "corrected" in str(finding)
    assert os.path.isdir(os.path.join(filled, os.path.basename(report["test"].backup)))
    assert [leftover.kind for leftover in report.leftovers] == ["backup"]
    assert pymm.fsck(filled).clean


def test_salvage(filled):
    os.remove(os.path.join(filled, "test.map"))
    assert pymm.fsck(filled, "test").exit_code == 4
    assert pymm.fsck(filled, "test", repair="safe").exit_code == 4
    assert [leftover.kind for leftover in pymm.fsck(filled).leftovers] == ["orphan"]
    report = pymm.fsck(filled, repair="all")
    assert report.exit_code == 1 and report["test"].salvaged == 2
    assert [leftover.kind for leftover in report.leftovers] == ["backup"]
    with pymm.shelf("test", pmem_path=filled) as s:
        assert np.array_equal(s.x, np.arange(10_000)) and s.note == "kept"


def test_beside_a_writer(filled):
    s = pymm.shelf("test", pmem_path=filled)
    s.y = 1
    assert pymm.fsck(filled).clean
    with pytest.raises(pymm.BusyError):
        pymm.fsck(filled, "test", repair="safe")
    report = pymm.fsck(filled, repair="all")
    assert report.exit_code == 8 and not report.clean
    assert "open for writing" in report["test"].problem
    assert "1 not checked" in repr(report) and report["test"].problem in str(report)
    s.close()
    assert pymm.fsck(filled, repair="all").exit_code in (0, 1)
    assert pymm.shelf("test", pmem_path=filled).y == 1


def test_arguments(filled, monkeypatch):
    with pytest.raises(ValueError, match="'some'"):
        pymm.fsck(filled, repair="some")
    with pytest.raises(pymm.NotFound):
        pymm.fsck(filled, "nothing")
    with pytest.raises(pymm.NotFound):
        pymm.fsck(os.path.join(filled, "nowhere"))
    with pytest.raises(pymm.InvalidArgument):
        pymm.fsck(filled, "../test")
    monkeypatch.setenv("PYMM_PATH", filled)
    assert pymm.fsck().path == filled


def test_scrub(filled):
    shelf = pymm.fsck(filled, "test", scrub=True)["test"]
    assert shelf.clean and shelf.scrubbed == 0 and shelf.unverified >= 1


def test_several_threads(filled):
    """Checks run without the GIL, side by side."""
    reports = []
    threads = [threading.Thread(target=lambda: reports.append(pymm.fsck(filled))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 4 and all(reports)
