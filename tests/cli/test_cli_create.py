"""pymmctl create"""

import os
import stat

import pytest


def test_two_files(ctl, ns):
    ctl("create", "-s", "4M", ns / "myShelf")
    assert sorted(os.listdir(ns)) == ["myShelf.data", "myShelf.map"]
    assert (ns / "myShelf.data").stat().st_size == 4 << 20
    for name in os.listdir(ns):
        assert stat.S_IMODE((ns / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text, size",
    [
        ("2097152", 2 << 20),
        ("2048k", 2 << 20),
        ("2M", 2 << 20),
        ("2m", 2 << 20),
        ("2MB", 2 << 20),
        ("2MiB", 2 << 20),
        ("2 MiB", 2 << 20),
        ("1GiB", 1 << 30),
    ],
)
def test_sizes(ctl, ns, text, size):
    assert ctl.json("create", "--sparse", "-s", text, ns / "s")["capacity"] == size


def test_default_size(ctl, ns):
    assert ctl.json("create", ns / "s")["capacity"] == 32 << 20


@pytest.mark.parametrize(
    "text", ["", "M", "-1M", "1X", "1.5M", "0x", "99999999999999999999", "17179869184G", "4096", "65T"]
)
def test_bad_sizes(ctl, ns, text):
    ctl.fails(2, "create", "--sparse", "-s", text, ns / "s")
    assert os.listdir(ns) == []


def test_sparse_takes_little(ctl, ns):
    ctl("create", "--sparse", "-s", "1G", ns / "s")
    allocated = sum((ns / n).stat().st_blocks * 512 for n in os.listdir(ns))
    assert allocated < 64 << 20


def test_exists_and_force(ctl, shelf):
    before = ctl.json("info", shelf)["uuid"]
    ctl("put", "--string", f"{shelf}/x", "y")
    ctl.fails(4, "create", shelf)
    assert ctl("cat", f"{shelf}/x") == b"y"
    after = ctl.json("create", "--force", shelf)
    assert after["uuid"] != before and after["blobs"] == 0


def test_force_spares_a_shelf_in_use(ctl, shelf, writer):
    ctl("put", "--string", f"{shelf}/x", "y")
    writer(f"{shelf}/w")
    ctl.fails(5, "create", "--force", shelf)
    assert ctl("cat", f"{shelf}/x") == b"y"


def test_mode(ctl, ns):
    ctl("create", "--mode", "640", "--sparse", ns / "s")
    assert stat.S_IMODE((ns / "s.data").stat().st_mode) == 0o640
    assert stat.S_IMODE((ns / "s.map").stat().st_mode) == 0o640
    for bad in ["rw", "8", "1777", "", "-1", "0x1"]:
        ctl.fails(2, "create", f"--mode={bad}", ns / "t")


def test_no_space(ctl, ns):
    if ctl.json("info", ns)["file_system"] == "tmpfs":
        pytest.skip("tmpfs promises nothing: memory is taken blob by blob")
    space = os.statvfs(ns)
    more = space.f_blocks * space.f_frsize + (1 << 30)
    ctl.fails(6, "create", "-s", str(more), ns / "s")
    assert os.listdir(ns) == []


@pytest.mark.parametrize("name", [".hidden", "a\nb", "x" * 201, "..", "."])
def test_names_at_the_edge(ctl, ns, name):
    done = ctl.run("create", "--sparse", f"{ns}/{name}")
    if name == "a\nb":  # legal, if unwise
        assert done.returncode == 0
    else:
        assert done.returncode == 2 and os.listdir(ns) == []


def test_not_utf8(ctl, ns):
    ctl.fails(2, "create", b"/".join([os.fsencode(ns), b"\xff"]))


def test_namespace_missing(ctl, ns):
    ctl.fails(3, "create", ns / "nowhere" / "s")
    ctl.fails(2, "create", "/")
    ctl.fails(2, "create", "")


def test_relative_path(ctl, ns):
    ctl.cwd = ns
    ctl("create", "--sparse", "here")
    ctl("create", "--sparse", "./there/")
    assert ctl.names(".") == ["here", "there"]


def test_json(ctl, ns):
    made = ctl.json("create", "--sparse", ns / "s")
    assert made["namespace"] == str(ns) and made["name"] == "s"
    assert ctl.json("info", ns / "s")["uuid"] == made["uuid"]
