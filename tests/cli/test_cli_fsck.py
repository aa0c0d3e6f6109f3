"""pymmctl fsck: exit codes, what it prints, what it leaves alone. What a check finds is tested in C++."""

import json
import os
import re

import pytest

SHELF = {
    "name", "exit_code", "problem", "clean", "corrected", "uncorrected", "blobs", "bytes", "metadata", "leaked",
    "scrubbed", "scrubbed_bytes", "unverified", "salvaged", "lost_found", "lost", "repaired", "reopen", "backup",
    "omitted", "findings",
}  # fmt: skip
FINDING = {
    "severity", "structure", "file", "offset", "expected", "found", "blob", "corrected", "action", "message",
}  # fmt: skip


@pytest.fixture
def filled(ctl, shelf):
    ctl("put", "--string", f"{shelf}/note", "kept")
    for name in "abc":
        ctl("put", f"{shelf}/{name}", input=os.urandom(50_000))
    return shelf


def contents(shelf, ctl):
    return {name: ctl("cat", f"{shelf}/{name}") for name in ctl.names(shelf)}


def overwrite(path, offset, data=b"damage"):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


def files(ns):
    return {p.name: p.read_bytes() for p in ns.iterdir() if p.is_file()}


def fsck(ctl, code, *args):
    """Standard output as lines; nothing is said on standard error."""
    done = ctl.run("fsck", *args)
    assert (done.returncode, done.stderr) == (code, b""), done
    return done.stdout.decode().splitlines()


def test_clean(ctl, ns, filled):
    (line,) = fsck(ctl, 0, filled)
    assert line.startswith(f"{filled}: clean; 4 blobs, ")
    assert fsck(ctl, 0, ns) == [line]
    for flag in ["-n", "--no", "-p", "--preen", "-y", "--yes", "--scrub"]:
        assert fsck(ctl, 0, flag, filled)[-1] == line, flag


def test_json(ctl, ns, filled):
    report = ctl.json("fsck", ns)
    assert report.keys() == {"namespace", "shelves", "leftovers", "exit_code"}
    assert (report["namespace"], report["exit_code"], report["leftovers"]) == (str(ns), 0, [])
    (shelf,) = report["shelves"]
    assert shelf.keys() == SHELF
    assert (shelf["name"], shelf["clean"], shelf["blobs"], shelf["findings"]) == ("s", True, 4, [])
    assert shelf["backup"] is shelf["problem"] is None


def test_an_empty_namespace(ctl, ns):
    assert fsck(ctl, 0, ns) == []
    assert ctl.json("fsck", ns)["shelves"] == []


def test_damage_is_told_and_nothing_is_changed(ctl, ns, filled):
    overwrite(ns / "s.map", 4096 + 60)
    before = files(ns)
    lines = fsck(ctl, 4, filled)
    assert any(re.match(rf"error: {ns}/s\.map: superblock copy 1 at offset \d+: expected .*, found ", x) for x in lines)
    assert "1 error left (-p repairs what needs no guess, -y the rest)" in lines[-1]
    assert files(ns) == before

    done = ctl.run("fsck", "--json", ns)
    assert done.returncode == 4
    report = json.loads(done.stdout)
    (finding,) = [f for f in report["shelves"][0]["findings"] if f["severity"] == "error"]
    assert finding.keys() == FINDING
    assert (finding["structure"], finding["corrected"]) == ("superblock copy 1", False)
    assert finding["file"] == f"{ns}/s.map" and 4096 <= finding["offset"] < 8192
    assert report["exit_code"] == report["shelves"][0]["exit_code"] == 4


def test_repair_of_a_superblock(ctl, ns, filled):
    before = contents(filled, ctl)
    overwrite(ns / "s.map", 60)
    lines = fsck(ctl, 1, "-p", filled)
    assert any(x.startswith("error: ") and "corrected" in x for x in lines), lines
    (saved,) = ns.glob("s.fsck-*")
    assert any(str(saved) in x for x in lines)
    again = fsck(ctl, 0, ns)
    assert again[0].startswith(f"{filled}: clean; 4 blobs")
    assert again[1].startswith(f"note: {saved}: what a repair replaced")
    (leftover,) = ctl.json("fsck", ns)["leftovers"]
    assert (leftover["kind"], leftover["shelf"], leftover["file"]) == ("backup", "s", saved.name)
    assert contents(filled, ctl) == before


def test_salvage_without_the_map(ctl, ns, filled):
    before = contents(filled, ctl)
    os.remove(ns / "s.map")
    assert "error: " in fsck(ctl, 4, filled)[0]
    (leftover,) = [x for x in fsck(ctl, 4, ns) if x.startswith("note: ")]
    assert leftover.startswith(f"note: {ns}/s.data: a shelf that has lost its .map")
    fsck(ctl, 4, "-p", filled)
    assert not (ns / "s.map").exists()
    lines = fsck(ctl, 1, "-y", ns)
    assert any(": 4 blobs salvaged, 0 put under lost+found/, 0 names lost" in x for x in lines), lines
    assert not any("has lost its .map" in x for x in lines)
    assert any(x.startswith("note: ") and "what a repair replaced" in x for x in lines)
    fsck(ctl, 0, filled)
    assert contents(filled, ctl) == before


def test_several_shelves(ctl, ns, filled):
    ctl("create", "-s", "4M", ns / "t")
    ctl("create", "-s", "4M", ns / "u")
    overwrite(ns / "t.map", 60)
    lines = fsck(ctl, 4, ns)
    assert [x.split(":")[0] for x in lines if not x.startswith(("error: ", "note: "))] == [
        f"{ns}/{name}" for name in "stu"
    ]
    assert fsck(ctl, 0, ns / "u")


def test_leftovers(ctl, ns, shelf):
    (ns / ".t.map.0123456789abcdef").write_bytes(b"")
    with open(ns / "u.data", "wb") as f:
        f.truncate(1 << 20)
    for other in ["street.data", "other.map", ".x.map.1234", "s.fsck-notes"]:
        (ns / other).write_bytes(b"none of ours")
    kinds = {x["file"]: x["kind"] for x in ctl.json("fsck", ns)["leftovers"]}
    assert kinds == {".t.map.0123456789abcdef": "temporary", "u.data": "unfinished"}
    assert len([x for x in fsck(ctl, 0, ns) if x.startswith("note: ")]) == 2


def test_a_map_without_data(ctl, ns, filled):
    os.remove(ns / "s.data")
    for flags in [[], ["-p"], ["-y"]]:
        assert any("data file" in x for x in fsck(ctl, 4, *flags, ns)), flags


def test_beside_a_writer(ctl, ns, filled, writer):
    writer(f"{filled}/w")
    assert fsck(ctl, 0, "-n", filled)[-1].startswith(f"{filled}: clean")
    before = files(ns)
    for flag in ["-p", "-y"]:
        done = ctl.run("fsck", flag, filled)
        assert done.returncode == 8 and b"open for writing" in done.stderr and not done.stdout
    assert files(ns) == before
    done = ctl.run("fsck", "-p", "--json", ns)
    assert done.returncode == 8
    (one,) = json.loads(done.stdout)["shelves"]
    assert one["exit_code"] == 8 and "open for writing" in one["problem"]


def test_beside_a_writer_whose_map_was_removed(ctl, ns, filled, writer):
    before = contents(filled, ctl)
    process = writer(f"{filled}/w")
    os.remove(ns / "s.map")
    left = files(ns)
    for flag in ["-p", "-y"]:
        assert "open for writing" in ctl.fails(8, "fsck", flag, filled)
    ctl.fails(5, "create", "-s", "4M", filled)
    ctl.fails(5, "create", "-s", "4M", "--force", filled)
    assert files(ns) == left and len(list(ns.iterdir())) == 1
    process.kill()
    process.communicate()
    fsck(ctl, 1, "-y", filled)
    fsck(ctl, 0, filled)
    assert contents(filled, ctl) == before


def test_operational_errors(ctl, ns, filled):
    ctl.fails(8, "fsck", ns / "nothing")
    ctl.fails(16, "fsck", f"{filled}/a")
    ctl.fails(16, "fsck", "")


def test_a_newer_version_is_never_repaired(ctl, ns, filled):
    import test_cli_exit_codes

    test_cli_exit_codes.patch_superblocks(ns / "s.map", 8, (2).to_bytes(4, "little"))
    before = files(ns)
    for flags in [[], ["-p"], ["-y"]]:
        assert "version 2" in ctl.fails(8, "fsck", *flags, filled)
    assert files(ns) == before


def test_scrub(ctl, filled):
    lines = fsck(ctl, 0, "--scrub", filled)
    assert re.search(r": \S+ \S+ verified in 0 blobs, \d+ blobs without a checksum$", lines[-2])


def test_scrub_finds_what_no_structure_tells(ctl, ns):
    shelf = f"{ns}/c"
    ctl("create", "-s", "8M", "--checksum", shelf)
    for name in ["good", "bad"]:
        ctl("put", f"{shelf}/{name}", input=os.urandom(100_000))
    lines = fsck(ctl, 0, "--scrub", shelf)
    assert "verified in 2 blobs, 0 blobs without a checksum" in lines[-2]
    overwrite(ns / "c.data", ctl.json("info", f"{shelf}/bad")["offset"] + 77_777)
    assert fsck(ctl, 0, shelf)[-1].startswith(f"{shelf}: clean")
    (error,) = [x for x in fsck(ctl, 4, "--scrub", shelf) if x.startswith("error: ")]
    assert "blob 'bad' content" in error and "checksum" in error
    # No repair invents data.
    fsck(ctl, 4, "--scrub", "-y", shelf)
    done = ctl.run("fsck", "--scrub", "--json", ns)
    (finding,) = [f for f in json.loads(done.stdout)["shelves"][0]["findings"] if f["severity"] == "error"]
    assert (done.returncode, finding["blob"], finding["corrected"]) == (4, "bad", False)
