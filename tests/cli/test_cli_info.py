"""pymmctl info and df"""

import datetime
import os
import re

import numpy as np
import pytest

BLOB = {
    "name", "kind", "dtype", "itemsize", "shape", "maxshape", "strides", "order", "size", "inlined", "offset",
    "extent", "id", "sequence", "created", "modified", "mode", "sealed", "checksum",
}  # fmt: skip
SHELF = {
    "namespace", "name", "capacity", "used", "free", "largest_free", "blobs", "uuid", "created",
    "sequence", "generation", "format_version", "runs", "log_bytes", "granularity", "clean",
    "checksum",
}  # fmt: skip
NAMESPACE = {"namespace", "file_system", "total", "available", "shelves"}


def moment(text):
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", text)
    return datetime.datetime.strptime(text[:-4] + "Z", "%Y-%m-%dT%H:%M:%S.%fZ")


def test_blob(ctl, shelf, tmp_path):
    np.save(tmp_path / "x.npy", np.asfortranarray(np.zeros((300, 400))))
    ctl("put", f"{shelf}/x", tmp_path / "x.npy")
    info = ctl.json("info", f"{shelf}/x")
    assert info.keys() == BLOB
    expected = {
        "name": "x", "kind": "ndarray", "dtype": "<f8", "itemsize": 8, "shape": [300, 400],
        "strides": [8, 2400], "order": "F", "size": 960000, "inlined": False,
    }  # fmt: skip
    assert expected.items() <= info.items()
    assert info["extent"] >= info["size"] and info["offset"] > 0
    assert moment(info["created"]) <= moment(info["modified"])
    text = ctl("info", f"{shelf}/x").decode()
    for line in [r"shape +\(300, 400\)", "order +F", r"size +960000 B \(937\.5 KiB\)"]:
        assert re.search(line, text), text


def test_replacing_keeps_created(ctl, shelf):
    first = ctl.json("put", "--string", f"{shelf}/x", "1")
    second = ctl.json("put", "--string", f"{shelf}/x", "2")
    assert second["created"] == first["created"]
    assert moment(second["modified"]) >= moment(first["modified"])
    assert second["sequence"] > first["sequence"]


def test_value(ctl, shelf):
    ctl("put", "--string", f"{shelf}/x", "é")
    info = ctl.json("info", f"{shelf}/x")
    assert info.keys() == BLOB
    assert (info["kind"], info["size"], info["inlined"]) == ("string", 2, True)
    assert info["dtype"] is info["shape"] is info["strides"] is info["order"] is None
    assert "in the catalogue" in ctl("info", f"{shelf}/x").decode()


def test_shelf(ctl, ns, shelf):
    ctl("put", f"{shelf}/x", input=bytes(1 << 20))
    info = ctl.json("info", shelf)
    assert info.keys() == SHELF
    assert (info["namespace"], info["name"], info["blobs"]) == (str(ns), "s", 1)
    assert info["used"] + info["free"] == info["capacity"] == 32 << 20
    assert info["used"] >= 1 << 20 and info["clean"] is True
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", info["uuid"])
    assert info["granularity"] in ("byte", "cache-line", "page")
    assert info["uuid"] in ctl("info", shelf).decode()


def test_namespace(ctl, ns, shelf):
    info = ctl.json("info", ns)
    assert info.keys() == NAMESPACE
    assert (info["namespace"], info["shelves"]) == (str(ns), 1)
    assert 0 <= info["available"] <= info["total"]
    assert info["file_system"] in ctl("info", ns).decode()


def test_not_found(ctl, ns, shelf):
    ctl.fails(3, "info", f"{shelf}/x")
    ctl.fails(3, "info", ns / "t")
    ctl.fails(3, "info", ns / "t" / "x")
    ctl.fails(2, "info", f"{shelf}/x/../y")
    ctl.fails(2, "info", "")


def test_beside_a_writer(ctl, shelf, writer):
    ctl("put", "--string", f"{shelf}/x", "1")
    writer(f"{shelf}/w")
    assert ctl.json("info", shelf)["blobs"] >= 1
    assert ctl.json("info", f"{shelf}/x")["size"] == 1


def test_df(ctl, ns, shelf):
    ctl("create", "-s", "4M", ns / "t")
    figures = ctl.json("df", ns)
    assert figures.keys() == NAMESPACE
    assert [row["name"] for row in figures["shelves"]] == ["s", "t"]
    for row in figures["shelves"]:
        assert row["used"] + row["free"] == row["capacity"]
    (only,) = ctl.json("df", ns / "t")["shelves"]
    assert only == figures["shelves"][1]

    head, columns, *rows = ctl("df", "-b", ns).decode().splitlines()
    assert head.startswith(f"{ns}: ") and columns.split()[0] == "SHELF"
    assert [row.split()[0] for row in rows] == ["s", "t"]
    assert rows[1].split()[1] == str(4 << 20)
    assert "4.0 MiB" in ctl("df", ns).decode()
    assert b"s " in ctl("df", env={"PYMM_PATH": str(ns)})


def test_df_failures(ctl, ns, shelf):
    ctl("put", "--string", f"{shelf}/x", "1")
    ctl.fails(2, "df", f"{shelf}/x")
    ctl.fails(3, "df", ns / "t")


def test_an_array_that_can_be_appended_to(ctl, shelf):
    pymm = pytest.importorskip("pymm", reason="no Python module pymm: run through scripts/env")
    s = pymm.shelf(os.path.basename(shelf), pmem_path=os.path.dirname(shelf))
    s.x = pymm.ndarray((0, 8), np.float32, maxshape=(None, 8))
    s.y = pymm.ndarray((3,), maxshape=(10,))
    s.x.append(np.arange(8))
    s.close()
    info = ctl.json("info", f"{shelf}/x")
    assert (info["dtype"], info["shape"], info["maxshape"]) == ("<f4", [1, 8], [None, 8])
    assert ctl.json("info", f"{shelf}/y")["maxshape"] == [10]
    assert re.search(r"^dtype +<f4$", ctl("info", f"{shelf}/x").decode(), re.M)
    assert re.search(r"^maxshape +\(None, 8\)$", ctl("info", f"{shelf}/x").decode(), re.M)
    assert re.search(r"^maxshape +\(10,\)$", ctl("info", f"{shelf}/y").decode(), re.M)
    assert "<f4 grows" in ctl("list", "-l", shelf).decode()
