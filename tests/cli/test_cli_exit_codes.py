"""Exit codes: the manual's table, and the codes that no other file provokes."""

import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_manual_and_header_agree():
    header = (ROOT / "tools/pymmctl/exit_codes.hpp").read_text()
    enum = header[header.index("enum class Exit") : header.index("};")]
    codes = {int(n) for n in re.findall(r"= (\d+),", enum)}
    assert codes_in("pymmctl.1") == sorted(codes) == list(range(len(codes)))


def codes_in(page):
    """The table of a page's EXIT STATUS."""
    manual = (ROOT / "man" / page).read_text()
    section = manual[manual.index(".SH EXIT STATUS") :]
    table = section[section.index(".TS") : section.index(".TE")]
    return [int(n) for n in re.findall(r"^(\d+)\|", table, re.MULTILINE)]


def test_fsck_has_those_of_fsck_8():
    """Its manual, its help and its source say the same."""
    source = (ROOT / "tools/pymmctl/cmd_fsck.cpp").read_text()
    named = {int(n) for n in re.findall(r"\b\w+_error = (\d+)", source)}
    help_text = source[source.index("Exit codes, combined") :]
    assert codes_in("pymmctl-fsck.8") == [0, 1, 2, 4, 8, 16, 128]
    assert named == {8, 16, 128}
    assert [int(n) for n in re.findall(r"(\d+) [a-z]", help_text[: help_text.index("See ")])] == [
        0, 1, 2, 4, 8, 16, 128,
    ]  # fmt: skip


@pytest.mark.parametrize("args", [[], ["--nonsense"], ["a", "b"], ["-n", "-p", "a"], ["-p", "-y", "a"]], ids=" ".join)
def test_usage_of_fsck(ctl, args):
    assert "see 'pymmctl fsck --help'" in ctl.fails(16, "fsck", *args)


@pytest.mark.parametrize(
    "args",
    [[], ["nonsense"], ["--nonsense"], ["list", "--nonsense"], ["list", "a", "b"], ["create"], ["put"],
     ["get"], ["cat"], ["erase"], ["cp", "a"], ["mv", "a"], ["info"], ["list", "create", "x"]],
    ids=" ".join,
)  # fmt: skip
def test_usage(ctl, args):
    command = args[0] + " " if args and args[0] not in ("nonsense", "--nonsense") else ""
    assert f"see 'pymmctl {command}--help'" in ctl.fails(2, *args)


@pytest.mark.parametrize("args", [["craete", "pm/s"], ["help", "put"], ["-q", "craete"]], ids=" ".join)
def test_a_command_that_there_is_not(ctl, args):
    word = next(x for x in args if not x.startswith("-"))
    assert f"'{word}' is no command" in ctl.fails(2, *args)


def test_a_directory_is_no_new_shelf(ctl, ns):
    assert "names a namespace: give NAMESPACE/SHELF" in ctl.fails(2, "create", f"{ns}/")
    assert "give a whole number" in ctl.fails(2, "create", "-s", "1.5G", f"{ns}/s")


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["--version"], ["put", "--help"], ["ls", "-h"]])
def test_help(ctl, args):
    out = ctl(*args).decode()
    assert "pymmctl" in out or "Usage" in out
    assert "complete " not in out, "hidden"


def overwrite(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


READING = ["list", "info", "cat", "get"]


def every_command_fails(ctl, code, shelf):
    for command in READING:
        ctl.fails(code, command, shelf if command in ("list", "info") else f"{shelf}/x")
    ctl.fails(code, "put", "--string", f"{shelf}/x", "new")
    ctl.fails(code, "erase", f"{shelf}/x")
    ctl.fails(code, "mv", f"{shelf}/x", f"{shelf}/y")
    ctl.fails(code, "cp", f"{shelf}/x", f"{shelf}/y")


def test_corrupt_map(ctl, ns, shelf):
    ctl("put", "--string", f"{shelf}/x", "1")
    overwrite(ns / "s.map", 0, os.urandom(8192))
    every_command_fails(ctl, 7, shelf)


def test_foreign_map(ctl, ns, shelf):
    (ns / "s.map").write_bytes(b"a street map of somewhere")
    every_command_fails(ctl, 7, shelf)


def test_data_of_another_shelf(ctl, ns, shelf):
    ctl("create", ns / "t")
    os.replace(ns / "t.data", ns / "s.data")
    every_command_fails(ctl, 7, shelf)


def test_data_cut_off(ctl, ns, shelf):
    os.truncate(ns / "s.data", 1 << 20)
    every_command_fails(ctl, 7, shelf)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def patch_superblocks(path, offset, value):
    """As a later version would write it: docs/FORMAT.md, superblock; 4 KiB, the last 4 bytes are the
    CRC32C of what is before."""
    for start in [0, 4096]:
        with open(path, "r+b") as f:
            f.seek(start)
            block = bytearray(f.read(4096))
            if block[:8] != b"PYMMSHLF":
                continue  # the second copy is written by the first commit
            block[offset : offset + len(value)] = value
            block[4092:] = crc32c(block[:4092]).to_bytes(4, "little")
            f.seek(start)
            f.write(block)


def test_newer_format_version(ctl, ns, shelf):
    patch_superblocks(ns / "s.map", 8, (2).to_bytes(4, "little"))
    every_command_fails(ctl, 8, shelf)


def test_unknown_incompatible_feature(ctl, ns, shelf):
    patch_superblocks(ns / "s.map", 32, (1 << 63).to_bytes(8, "little"))
    every_command_fails(ctl, 8, shelf)


def test_unknown_feature_that_allows_reading(ctl, ns, shelf):
    ctl("put", "--string", f"{shelf}/x", "1")
    patch_superblocks(ns / "s.map", 24, (1 << 63).to_bytes(8, "little"))
    assert ctl("cat", f"{shelf}/x") == b"1"
    assert ctl.run("put", "--string", f"{shelf}/x", "2").returncode in (8, 9)
    assert ctl("cat", f"{shelf}/x") == b"1"


@pytest.fixture
def nobody(ctl, ns, tmp_path):
    """Arguments that run a command as an ordinary user who can reach the namespace."""
    if os.geteuid() != 0:
        return {}
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    changed = []
    for folder in [ns, *ns.parents, tmp_path, *tmp_path.parents]:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & 0o001 and folder.is_relative_to("/tmp"):
            folder.chmod(mode | 0o011)
            changed.append((folder, mode))
    try:
        reaches = ctl.run("--version", **user).returncode == 0
        # The namespace itself is opened up by the tests; what leads to it must be open already.
        reaches = reaches and subprocess.run(["test", "-x", ns.parent], **user).returncode == 0
    except PermissionError:
        reaches = False
    for folder, mode in reversed(changed):
        if not reaches:
            folder.chmod(mode)
    if not reaches:
        pytest.skip("run by root, and an ordinary user cannot reach the program or the namespace")
    return user


def test_no_permission(ctl, ns, shelf, nobody):
    ctl("put", "--string", f"{shelf}/x", "1")
    ns.chmod(0o755)
    for name in ["s.map", "s.data"]:
        (ns / name).chmod(0)
    every_command_fails_as(ctl, nobody, shelf)
    for name in ["s.map", "s.data"]:
        (ns / name).chmod(0o644)
    if nobody:
        assert ctl("cat", f"{shelf}/x", **nobody) == b"1"
        ctl.fails(9, "put", "--string", f"{shelf}/x", "2", **nobody)
        ctl.fails(9, "erase", shelf, **nobody)
    ns.chmod(0o555)
    ctl.fails(9, "create", "--sparse", ns / "t", **nobody)
    ns.chmod(0o755)
    assert ctl("cat", f"{shelf}/x") == b"1"


def every_command_fails_as(ctl, user, shelf):
    for command in READING:
        ctl.fails(9, command, shelf if command in ("list", "info") else f"{shelf}/x", **user)
    ctl.fails(9, "put", "--string", f"{shelf}/x", "new", **user)


def test_unreadable_input(ctl, shelf, tmp_path, nobody):
    secret = tmp_path / "secret"
    secret.write_bytes(b"1")
    secret.chmod(0)
    ctl.fails(9, "put", f"{shelf}/x", secret, **nobody)


def test_globals_before_and_after_the_command(ctl, ns, shelf):
    for args in [["-q", "list", ns], ["list", "-q", ns], ["list", ns, "--quiet"]]:
        assert ctl(*args) == b"s\n"
    done = ctl.run("-v", "list", ns)
    assert (done.returncode, done.stdout) == (0, b"s\n")


def test_messages_name_the_command_and_the_place(ctl, shelf):
    message = ctl.fails(3, "cat", f"{shelf}/no such")
    assert message.startswith(f"pymmctl cat: {shelf}/no such: ")
