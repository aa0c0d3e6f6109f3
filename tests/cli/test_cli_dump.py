"""pymmctl dump: all structures, also of damaged shelves."""

import json
import os
import random
import re
import subprocess
import sys

import pytest

ITEM = {"kind", "depth", "file", "offset", "size", "problem", "fields"}


@pytest.fixture
def filled(ctl, shelf):
    ctl("put", "--string", f"{shelf}/note", "kept")
    for name in "abc":
        ctl("put", f"{shelf}/{name}", input=os.urandom(50_000))
    ctl("erase", f"{shelf}/b")
    return shelf


def dump(ctl, code, *args):
    done = ctl.run("dump", "--json", *args)
    assert (done.returncode, done.stderr) == (code, b""), done
    return json.loads(done.stdout)["items"]


def of(items, kind):
    return [i for i in items if i["kind"] == kind]


def names(items, kind):
    return [i["fields"]["name"] for i in of(items, kind)]


def test_everything_is_there(ctl, ns, filled):
    items = dump(ctl, 0, filled)
    assert all(i.keys() == ITEM and i["problem"] is None for i in items)
    kinds = {i["kind"] for i in items}
    assert kinds >= {
        "superblock", "run reference", "live page", "data header", "zone table", "zone", "log", "end of log", "run",
        "page", "entry", "space event", "blobs", "blob", "extent header",
    }  # fmt: skip
    info = ctl.json("info", filled)
    for copy in of(items, "superblock"):
        assert copy["fields"]["uuid"] == info["uuid"] and copy["fields"]["capacity"] == info["capacity"]
        assert copy["fields"]["generation"] == info["generation"]
    assert names(items, "blob") == ["a", "c", "note"]
    assert set(names(items, "entry")) == {"a", "b", "c", "note"}  # the tombstone too
    blob = of(items, "blob")[0]["fields"]
    info = ctl.json("info", f"{filled}/a")
    assert {key: blob[key] for key in ["id", "size", "offset", "extent", "sequence", "modified_ns"]} == {
        "modified_ns": info["modified"], **{key: info[key] for key in ["id", "size", "offset", "extent", "sequence"]}
    }  # fmt: skip
    data = (ns / "s.data").read_bytes()
    for header in of(items, "extent header"):
        assert data[header["offset"] : header["offset"] + 8] == b"PYMMBLOB"
    for page in of(items, "page"):
        assert data[page["offset"] : page["offset"] + 4] == b"PMPG"
    for entry in of(items, "entry"):
        name = entry["fields"]["name"].encode()
        assert data[entry["offset"] + 104 : entry["offset"] + 104 + len(name)] == name


def test_a_log(ctl, ns, filled):
    """Python writes, and dies; the command has no way to leave a log behind."""
    code = """if True:
        import os, sys, pymm
        s = pymm.shelf("s", pmem_path=sys.argv[1])
        s.x = b"1" * 5000
        s.y = 7
        del s.x
        os.kill(os.getpid(), 9)
    """
    try:
        subprocess.run([sys.executable, "-c", "import pymm"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("pymm cannot be imported: there is nobody to leave a log behind")
    assert subprocess.run([sys.executable, "-c", code, ns]).returncode == -9
    items = dump(ctl, 0, "--log", filled)
    data = (ns / "s.data").read_bytes()
    commits = of(items, "commit")
    assert len(commits) == 3
    for commit in commits:
        assert data[commit["offset"] : commit["offset"] + 4] == b"PMCT"
    begin = commits[0]["fields"]["sequence"]
    assert [c["fields"]["sequence"] for c in commits] == [begin, begin + 1, begin + 2]
    assert names(items, "put") == ["x", "y"] and names(items, "erase") == ["x"]
    assert len(of(items, "alloc")) >= 1 and len(of(items, "free")) >= 1
    for record in of(items, "put"):
        assert data[record["offset"] + 112 :].startswith(record["fields"]["name"].encode())
    assert of(items, "end of log")[0]["fields"]["next"] == begin + 3

    # The second one is damaged: the third, sound, shows that it is no torn tail.
    overwrite(ns / "s.data", commits[1]["offset"] + 50, b"damage")
    items = dump(ctl, 7, "--log", filled)
    assert [c["fields"]["sequence"] for c in of(items, "commit")] == [begin, begin + 2]
    assert f"commit {begin + 1} is damaged" in of(items, "commit")[1]["problem"]
    assert of(items, "end of log")[0]["fields"]["reason"] == "wrong checksum"


def test_parts(ctl, filled):
    def kinds(*args):
        return {i["kind"] for i in dump(ctl, 0, *args, filled)}

    assert kinds("--superblocks") == {"superblock", "run reference", "live page", "data header"}
    assert kinds("--zones") == {"zone table", "zone"}
    assert kinds("--log") == {"log", "end of log"}
    assert kinds("--runs") == {"run", "page", "entry", "space event"}
    assert kinds("--blobs") == {"blobs", "blob", "extent header"}
    assert kinds("--log", "--zones") == {"zone table", "zone", "log", "end of log"}


def test_one_blob(ctl, filled):
    items = dump(ctl, 0, "--blob", "a", filled)
    assert names(items, "blob") == names(items, "entry") == names(items, "extent header") == ["a"]
    assert of(items, "run") and of(items, "page") and not of(items, "space event")
    assert names(dump(ctl, 0, "--runs", "--blob", "b", filled), "entry") == ["b", "b"]
    assert not names(dump(ctl, 0, "--blob", "no such", filled), "entry")
    ctl.fails(2, "dump", "--blob", "", filled)


def test_text(ctl, filled):
    text = ctl("dump", filled).decode()
    for line in [
        r"superblock at \.map 0, 4096 bytes", r"  version +1", r"data header at \.data 0, 64 bytes",
        r"  blob at \.data \d+, \d+ bytes  name=\"a\".*", r"  log_salt +0x[0-9a-f]+",
    ]:  # fmt: skip
        assert re.search(rf"^{line}$", text, re.MULTILINE), line
    assert "!!" not in text


def overwrite(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


def test_damage_is_named_and_the_rest_shown(ctl, ns, filled):
    sound = dump(ctl, 0, filled)
    leaf = next(p for p in of(sound, "page") if p["fields"]["type"] == "leaf")
    overwrite(ns / "s.map", 4096 + 60, b"damage")
    overwrite(ns / "s.data", leaf["offset"] + 4000, b"damage")
    items = dump(ctl, 7, filled)
    assert [s["problem"] is None for s in of(items, "superblock")] == [True, False]
    bad = [p for p in of(items, "page") if p["problem"]]
    assert [p["offset"] for p in bad] == [leaf["offset"]] and "checksum" in bad[0]["problem"]
    assert len(of(items, "entry")) == len(of(sound, "entry"))
    assert '!! "checksum' in ctl.run("dump", filled).stdout.decode()
    # The page might have held the name.
    assert of(dump(ctl, 7, "--runs", "--blob", "no such", filled), "page")[0]["offset"] == leaf["offset"]


def test_pages_that_are_gone_are_one_item(ctl, ns, filled):
    run = of(dump(ctl, 0, "--runs", filled), "run")[0]
    overwrite(ns / "s.data", run["offset"], bytes(run["size"]))
    (gone,) = of(dump(ctl, 7, "--runs", filled), "pages")
    assert (gone["offset"], gone["size"]) == (run["offset"], run["size"])
    assert (gone["fields"]["first"], gone["fields"]["last"]) == (0, run["size"] // 4096 - 1)


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 4097, 9000])
@pytest.mark.parametrize("suffix", ["map", "data"])
def test_truncated(ctl, ns, filled, suffix, size):
    os.truncate(ns / f"s.{suffix}", size)
    items = dump(ctl, 7, filled)
    assert len(of(items, "superblock")) == 2 and len(of(items, "data header")) == 1
    assert any(i["problem"] and ("file" in i["problem"] or "superblock" in i["problem"]) for i in items)


@pytest.mark.parametrize("suffix", ["map", "data"])
def test_one_file_missing(ctl, ns, filled, suffix):
    os.remove(ns / f"s.{suffix}")
    items = dump(ctl, 7, f"{ns}//s")
    assert any(i["problem"] == "there is no such file" and (i["file"] == suffix) for i in items)
    other = "data header" if suffix == "map" else "superblock"
    assert of(items, other)[0]["fields"]


def test_not_a_regular_file(ctl, ns, filled):
    os.remove(ns / "s.map")
    os.mkfifo(ns / "s.map")
    assert any(i["problem"] == "it is not a regular file" for i in dump(ctl, 7, f"{ns}//s"))


def test_random_damage(ctl, ns, filled):
    """It ends, and says something sensible, whatever is read."""
    items = dump(ctl, 0, filled)
    structures = [(i["file"], i["offset"], i["size"]) for i in items if i["size"] and i["kind"] != "blob"]
    pristine = {name: (ns / name).read_bytes() for name in ["s.map", "s.data"]}
    draw = random.Random(1)
    places = [(f, o + draw.randrange(min(n, 4096))) for f, o, n in draw.choices(structures, k=60)]
    for count, (file, at) in enumerate(places):
        overwrite(ns / f"s.{file}", at // 8 * 8, draw.choice([b"\xff" * 8, bytes(8), draw.randbytes(8)]))
        done = ctl.run("dump", "--json", f"{ns}//s")
        assert done.returncode in (0, 7), (count, file, at, done.stderr)
        json.loads(done.stdout)
        if count % 3 == 2:  # damage adds up, but leaves something to read
            for name, data in pristine.items():
                (ns / name).write_bytes(data)


def test_beside_a_writer(ctl, filled, writer):
    writer(f"{filled}/w")
    assert names(dump(ctl, 0, "--blobs", filled), "blob") == ["a", "c", "note"]


def test_failures(ctl, ns, filled):
    ctl.fails(3, "dump", ns / "t")
    ctl.fails(2, "dump", ns)
    ctl.fails(2, "dump", f"{filled}/a")
