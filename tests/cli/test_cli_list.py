"""pymmctl list"""

import datetime
import json
import os
import re

import numpy as np
import pytest

NAMES = ["a b", "model/conv1/bias", "model/conv1/weight", "model2", "quote\"'\\", "tab\there", "ü/雪"]


@pytest.fixture
def filled(ctl, shelf):
    for name in NAMES:
        ctl("put", "--string", f"{shelf}/{name}", name)
    return shelf


def test_names_in_byte_order(ctl, filled):
    assert ctl.names(filled) == sorted(NAMES, key=lambda n: n.encode())
    assert ctl("list", filled) == b"".join(n.encode() + b"\n" for n in ctl.names(filled))
    assert ctl("ls", filled) == ctl("list", filled)


def test_prefix(ctl, filled):
    assert ctl.names(f"{filled}/model") == [n for n in NAMES if n.startswith("model")]
    assert ctl.names(f"{filled}/model/") == [n for n in NAMES if n.startswith("model/")]
    assert ctl.names(f"{filled}/model2") == ["model2"]
    assert ctl.names(f"{filled}/") == ctl.names(filled)
    ctl.fails(3, "list", f"{filled}/nothing")
    ctl.fails(3, "list", "-l", f"{filled}/nothing")


def test_empty(ctl, ns, shelf):
    assert ctl("list", shelf) == b""
    assert ctl.json("list", shelf)["blobs"] == []
    ctl("erase", shelf)
    assert ctl("list", ns) == b""
    assert ctl.json("list", ns)["shelves"] == []


def test_shelves(ctl, ns, shelf):
    ctl("create", "--sparse", ns / "a")
    (ns / "directory").mkdir()
    (ns / "file").write_bytes(b"x")
    assert ctl.names(ns) == ["a", "s"]


def test_default_namespace(ctl, ns, shelf):
    assert ctl("list", env={"PYMM_PATH": str(ns)}) == b"s\n"
    ctl.cwd = ns
    assert ctl("list", env={"PYMM_PATH": ""}) == b"s\n"


def test_long(ctl, shelf, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4), ">f4"))
    ctl("put", f"{shelf}/a", tmp_path / "a.npy")
    ctl("put", "--string", f"{shelf}/b c", "text")
    lines = ctl("list", "-l", shelf).decode().splitlines()
    columns = [re.split(r"\s{2,}", line) for line in lines]
    assert [c[:4] + c[5:] for c in columns] == [
        ["ndarray", ">f4", "(3, 4)", "48", "-", "a"],
        ["string", "-", "-", "4", "-", "b c"],
    ]
    for c in columns:
        datetime.datetime.strptime(c[4], "%Y-%m-%dT%H:%M:%SZ")
    assert len({line.index("20") for line in lines}) == 1, "columns are aligned"


def test_long_dtype_is_cut(ctl, shelf):
    dtype = str([(f"größe{i}", "<f4") for i in range(50)])
    ctl("put", "--dtype", dtype, f"{shelf}/a", input=bytes(400))
    line = ctl("list", "-l", shelf).decode()
    assert dtype[:30] in line and "..." in line and len(line) < 200
    assert ctl.json("info", f"{shelf}/a")["dtype"] == dtype


def test_long_human(ctl, shelf):
    ctl("put", f"{shelf}/a", input=bytes(1536))
    assert "1.5 KiB" in ctl("list", "-lH", shelf).decode()
    ctl.fails(2, "list", "-H", shelf)


def test_long_shelves(ctl, ns, shelf):
    ctl("put", "--string", f"{shelf}/a", "x")
    capacity, used, blobs, created, name = ctl("list", "-l", ns).decode().split()
    assert (int(capacity), int(blobs), name) == (32 << 20, 1, "s")
    assert 0 < int(used) < int(capacity)


def test_json_blobs(ctl, ns, filled):
    listing = ctl.json("list", filled)
    assert listing["namespace"] == str(ns) and listing["shelf"] == "s" and listing["prefix"] == ""
    assert [b["name"] for b in listing["blobs"]] == ctl.names(filled)
    for blob in listing["blobs"]:
        assert blob == ctl.json("info", f"{filled}/{blob['name']}")


def test_json_shelves(ctl, ns, shelf):
    (entry,) = ctl.json("list", ns)["shelves"]
    assert entry.keys() == {"name", "capacity", "allocated", "problem"}
    assert (entry["name"], entry["capacity"], entry["problem"]) == ("s", 32 << 20, None)
    (entry,) = ctl.json("list", "-l", ns)["shelves"]
    assert entry["blobs"] == 0 and entry["uuid"] == ctl.json("info", shelf)["uuid"]


def test_json_of_a_directory_that_is_no_utf8(ctl, ns):
    odd = bytes(ns) + b"/\xff"
    os.mkdir(odd)
    ctl("create", "--sparse", odd + b"/s")
    assert json.loads(ctl("list", "--json", odd))["namespace"].endswith("�")


def test_broken_shelf_is_shown(ctl, ns, shelf):
    ctl("create", "--sparse", ns / "t")
    (ns / "s.data").unlink()
    lines = ctl("list", "-l", ns).decode().splitlines()
    assert len(lines) == 2 and re.search(r" s  \[.+\]", lines[0])
    broken, whole = ctl.json("list", "-l", ns)["shelves"]
    assert broken["problem"] and "blobs" not in broken
    assert whole["problem"] is None and whole["blobs"] == 0


def test_reads_beside_a_writer(ctl, ns, filled, writer):
    writer(f"{filled}/w")
    assert set(NAMES) <= set(ctl.names(filled))
    assert ctl.json("list", "-l", ns)["shelves"][0]["problem"] is None


def test_null_excludes_the_others(ctl, shelf):
    ctl.fails(2, "list", "-0", "-l", shelf)
    ctl.fails(2, "list", "-0", "--json", shelf)


def test_not_found(ctl, ns):
    ctl.fails(3, "list", ns / "nothing")
    ctl.fails(3, "list", ns / "no" / "thing")
