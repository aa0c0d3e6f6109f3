"""pymmctl erase"""

import os

import pytest


@pytest.fixture
def filled(ctl, shelf):
    for name in ["a", "b", "c/d", "c/e"]:
        ctl("put", "--string", f"{shelf}/{name}", name)
    return shelf


def test_blobs(ctl, filled):
    ctl("erase", f"{filled}/a", f"{filled}/c/d")
    assert ctl.names(filled) == ["b", "c/e"]
    ctl("rm", f"{filled}/b")
    assert ctl.names(filled) == ["c/e"]


def test_space_comes_back(ctl, shelf):
    for _ in range(6):  # 8 MiB each on 32 MiB
        ctl("put", f"{shelf}/x", input=bytes(8 << 20))
        ctl("erase", f"{shelf}/x")
    assert ctl.json("info", shelf)["free"] > 24 << 20


def test_shelves(ctl, ns, filled):
    ctl("create", "--sparse", ns / "t")
    ctl("erase", filled)
    assert sorted(os.listdir(ns)) == ["t.data", "t.map"]
    ctl("create", filled)
    assert ctl.names(filled) == []
    ctl("erase", filled, ns / "t")
    assert os.listdir(ns) == []


def test_blobs_then_their_shelf(ctl, ns, filled):
    ctl("erase", f"{filled}/a", filled)
    assert os.listdir(ns) == []


def test_one_missing_keeps_not_the_others(ctl, filled):
    message = ctl.fails(3, "erase", f"{filled}/a", f"{filled}/nothing", f"{filled}/b")
    assert "nothing" in message
    assert ctl.names(filled) == ["c/d", "c/e"]


def test_same_blob_twice(ctl, filled):
    ctl.fails(3, "erase", f"{filled}/a", f"{filled}/a")
    assert "a" not in ctl.names(filled)


def test_force(ctl, ns, filled):
    ctl("erase", "-f", f"{filled}/nothing", f"{filled}/a", ns / "nothing", ns / "no" / "thing")
    assert "a" not in ctl.names(filled)
    ctl.fails(2, "erase", "-f", f"{filled}/b/../c")


def test_never_a_namespace_or_prefix(ctl, ns, filled):
    ctl.fails(2, "erase", ns)
    ctl.fails(3, "erase", f"{filled}/c")
    ctl.fails(2, "erase", f"{filled}/c/")
    ctl.fails(2, "erase")
    assert len(ctl.names(filled)) == 4


def test_busy(ctl, filled, writer):
    writer(f"{filled}/w")
    ctl.fails(5, "erase", f"{filled}/a")
    ctl.fails(5, "erase", filled)
    assert "a" in ctl.names(filled)


def test_trailing_slash_erases_nothing_by_surprise(ctl, ns, filled):
    """NS/s/ is the directory when there is one, and a namespace is not erased."""
    (ns / "s").mkdir()
    ctl.fails(2, "erase", f"{filled}/")
    assert len(ctl.names(filled)) == 4
