"""pymmctl cp and mv"""

import os

import numpy as np
import pytest

MIB = 1 << 20
TYPE = ["kind", "dtype", "itemsize", "shape", "strides", "size"]


@pytest.fixture
def two(ctl, ns):
    """Two shelves in different namespaces."""
    (ns / "other").mkdir()
    paths = [f"{ns}/s", f"{ns}/other/t"]
    for path in paths:
        ctl("create", "-s", "64M", path)
    return paths


@pytest.fixture
def filled(ctl, two, tmp_path):
    """Blobs of all sizes and several kinds on the first shelf: name -> bytes."""
    blobs = {}
    for size in [0, 1, 100, 4096, MIB, 5 * MIB + 1]:
        name = f"raw/{size}"
        blobs[name] = np.random.default_rng(size).bytes(size)
        ctl("put", f"{two[0]}/{name}", input=blobs[name])
    ctl("put", "--string", f"{two[0]}/text ü", "snow 雪")
    blobs["text ü"] = "snow 雪".encode()
    a = np.asfortranarray(np.arange(600_000, dtype=">f8").reshape(300, 2000))
    np.save(tmp_path / "a.npy", a)
    ctl("put", f"{two[0]}/array", tmp_path / "a.npy")
    blobs["array"] = a.tobytes("F")
    return blobs


def check(ctl, source, target, blobs):
    for name, data in blobs.items():
        assert ctl("cat", f"{target}/{name}") == data
        a, b = (ctl.json("info", f"{path}/{name}") for path in [source, target])
        assert [a[k] for k in TYPE] == [b[k] for k in TYPE]


def test_cp_within_a_shelf(ctl, two, filled):
    for name, data in filled.items():
        ctl("cp", f"{two[0]}/{name}", f"{two[0]}/copy/{name}")
        assert ctl("cat", f"{two[0]}/{name}") == ctl("cat", f"{two[0]}/copy/{name}") == data
    check(ctl, two[0], f"{two[0]}/copy", filled)


def test_cp_between_shelves(ctl, two, filled):
    for name in filled:
        ctl("cp", f"{two[0]}/{name}", two[1])
    check(ctl, two[0], two[1], filled)
    ctl("cp", f"{two[0]}/array", f"{two[1]}/another/name")
    assert ctl("cat", f"{two[1]}/another/name") == filled["array"]


def test_cp_replaces_unless_told(ctl, two):
    ctl("put", "--string", f"{two[0]}/x", "new")
    ctl("put", "--string", f"{two[1]}/x", "old")
    for target in [f"{two[1]}/x", two[1]]:
        ctl.fails(4, "cp", "-n", f"{two[0]}/x", target)
    assert ctl("cat", f"{two[1]}/x") == b"old"
    ctl("cp", f"{two[0]}/x", two[1])
    assert ctl("cat", f"{two[1]}/x") == b"new"


def test_cp_shelf_to_a_new_one(ctl, ns, two, filled):
    ctl("cp", two[0], f"{ns}/copy")
    assert ctl.names(f"{ns}/copy") == ctl.names(two[0])
    check(ctl, two[0], f"{ns}/copy", filled)
    a, b = ctl.json("info", two[0]), ctl.json("info", f"{ns}/copy")
    assert a["capacity"] == b["capacity"] and a["uuid"] != b["uuid"]


def test_cp_shelf_into_a_namespace_with_a_size(ctl, ns, two, filled):
    ctl("cp", "-s", "100M", two[0], ns / "other")
    assert ctl.json("info", f"{ns}/other/s")["capacity"] == 100 * MIB
    check(ctl, two[0], f"{ns}/other/s", filled)


def test_cp_shelf_into_an_existing_one(ctl, two, filled):
    ctl("put", "--string", f"{two[1]}/array", "replaced")
    ctl("put", "--string", f"{two[1]}/stays", "here")
    ctl.fails(4, "cp", "-n", *two)
    ctl.fails(2, "cp", "-s", "64M", *two)
    assert ctl("cat", f"{two[1]}/array") == b"replaced"
    ctl("cp", *two)
    check(ctl, two[0], two[1], filled)
    assert ctl("cat", f"{two[1]}/stays") == b"here"


def test_cp_many_small_blobs(ctl, two, tmp_path):
    """More than one batch, with names in no order."""
    names = [f"{i * 7919 % 1000:03}" for i in range(600)]
    for name in names:
        assert ctl.run("put", "--string", f"{two[0]}/{name}", name).returncode == 0
    ctl("cp", *two)
    assert ctl.names(two[1]) == sorted(names)
    assert ctl("cat", *(f"{two[1]}/{n}" for n in names)) == "".join(names).encode()


def test_cp_shelf_without_room_leaves_no_half(ctl, ns, two, filled):
    ctl.fails(6, "cp", "-s", "4M", two[0], f"{ns}/small")
    assert "small" not in ctl.names(ns) and not [n for n in os.listdir(ns) if "small" in n]


def test_cp_blob_without_room(ctl, ns, two, filled):
    ctl("create", "-s", "4M", ns / "small")
    ctl("put", "--string", f"{ns}/small/array", "kept")
    ctl.fails(6, "cp", f"{two[0]}/array", f"{ns}/small")
    assert ctl("cat", f"{ns}/small/array") == b"kept"


def test_cp_from_a_shelf_that_is_written(ctl, two, filled, writer):
    writer(f"{two[0]}/w")
    ctl("cp", f"{two[0]}/array", two[1])
    ctl("cp", *two)
    check(ctl, two[0], two[1], filled)


def test_cp_to_a_shelf_that_is_written(ctl, two, filled, writer):
    writer(f"{two[1]}/w")
    ctl.fails(5, "cp", f"{two[0]}/array", two[1])
    ctl.fails(5, "cp", *two)


def test_mv_within_a_shelf(ctl, two, filled):
    before = ctl.json("info", f"{two[0]}/array")
    ctl("mv", f"{two[0]}/array", f"{two[0]}/new/name")
    after = ctl.json("info", f"{two[0]}/new/name")
    assert after["id"] == before["id"] and after["offset"] == before["offset"]
    ctl.fails(3, "info", f"{two[0]}/array")
    assert ctl("cat", f"{two[0]}/new/name") == filled["array"]


def test_mv_between_shelves(ctl, two, filled):
    for name, data in filled.items():
        ctl("mv", f"{two[0]}/{name}", two[1])
        assert ctl("cat", f"{two[1]}/{name}") == data
    assert ctl.names(two[0]) == [] and len(ctl.names(two[1])) == len(filled)


@pytest.mark.parametrize("target", [0, 1])
def test_mv_replaces_unless_told(ctl, two, target):
    ctl("put", "--string", f"{two[0]}/x", "new")
    ctl("put", "--string", f"{two[target]}/y", "old")
    ctl.fails(4, "mv", "-n", f"{two[0]}/x", f"{two[target]}/y")
    assert ctl("cat", f"{two[0]}/x", f"{two[target]}/y") == b"newold"
    ctl("mv", f"{two[0]}/x", f"{two[target]}/y")
    assert ctl("cat", f"{two[target]}/y") == b"new"
    ctl.fails(3, "cat", f"{two[0]}/x")


def test_mv_that_fails_loses_nothing(ctl, ns, two, filled, writer):
    ctl("create", "-s", "4M", ns / "small")
    ctl.fails(6, "mv", f"{two[0]}/array", ns / "small")
    writer(f"{two[1]}/w")
    ctl.fails(5, "mv", f"{two[0]}/array", two[1])
    assert ctl("cat", f"{two[0]}/array") == filled["array"]
    assert ctl.names(ns / "small") == []


def test_wrong_usage(ctl, ns, two):
    ctl("put", "--string", f"{two[0]}/x", "1")
    for command in ["cp", "mv"]:
        ctl.fails(2, command, f"{two[0]}/x", f"{two[0]}/x")
        ctl.fails(2, command, f"{two[0]}/x", two[0])  # the same name in the same shelf
        ctl.fails(2, command, f"{two[0]}/x", ns)
        ctl.fails(2, command, f"{two[0]}/x", f"{two[1]}/a/../b")
        ctl.fails(2, command, f"{two[0]}/x", f"{two[1]}/a/")
        ctl.fails(2, command, ns, f"{two[1]}/x")
        ctl.fails(2, command, f"{two[0]}/x")
        ctl.fails(3, command, f"{two[0]}/nothing", two[1])
        ctl.fails(3, command, f"{two[0]}/x", f"{ns}/nothing/x")
        ctl.fails(3, command, f"{ns}/nothing/x", two[1])
    ctl.fails(2, "mv", two[0], ns / "other")
    ctl.fails(2, "cp", two[0], f"{ns}/./s")
    ctl.fails(2, "cp", two[0], f"{two[1]}/x")
    ctl.fails(2, "cp", "-s", "64M", f"{two[0]}/x", two[1])
    ctl.fails(3, "cp", ns / "nothing", ns / "new")
    ctl.fails(2, "cp", two[0], f"{ns}/nowhere/new")
    assert ctl.names(two[1]) == [] and ctl.names(ns) == ["s"]


def test_same_shelf_through_another_path(ctl, ns, two):
    """One file must not be opened as two shelves."""
    ctl("put", "--string", f"{two[0]}/x", "1")
    (ns / "link").symlink_to(ns)
    ctl("cp", f"{two[0]}/x", f"{ns}/link/s/y")
    ctl("mv", f"{ns}/link/s/y", f"{two[0]}/z")
    assert ctl.names(two[0]) == ["x", "z"]
    ctl.fails(2, "cp", two[0], f"{ns}/link/s")
