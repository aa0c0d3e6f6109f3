"""pymmctl seal, create --checksum, and what the other commands make of them"""

import numpy as np
import pytest


def crc32c(data):
    """Bit by bit, from the definition in docs/FORMAT.md."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return f"0x{crc ^ 0xFFFFFFFF:08x}"


assert crc32c(b"123456789") == "0xe3069283"


@pytest.fixture
def filled(ctl, shelf):
    ctl("put", "--string", f"{shelf}/text", "some text")
    ctl("put", f"{shelf}/raw", input=bytes(range(256)) * 20)
    return shelf


def test_sealed(ctl, filled):
    assert ctl.json("info", f"{filled}/raw")["sealed"] is False
    assert ctl.json("info", f"{filled}/raw")["checksum"] is None
    ctl("seal", f"{filled}/text", f"{filled}/raw")
    for name, data in [("text", b"some text"), ("raw", bytes(range(256)) * 20)]:
        info = ctl.json("info", f"{filled}/{name}")
        assert (info["sealed"], info["checksum"]) == (True, crc32c(data))
        assert "sealed" in ctl("info", f"{filled}/{name}").decode()
        before = ctl.json("info", filled)["sequence"]
        ctl("seal", f"{filled}/{name}")
        assert ctl.json("info", filled)["sequence"] == before
    assert [line.split()[-2:] for line in ctl("list", "-l", filled).decode().splitlines()] == [
        ["sealed", "raw"],
        ["sealed", "text"],
    ]


def test_nothing_replaces_it(ctl, filled):
    ctl("seal", f"{filled}/text")
    ctl("put", "--string", f"{filled}/other", "x")
    for args in [
        ("put", "--string", f"{filled}/text", "new"),
        ("cp", f"{filled}/other", f"{filled}/text"),
        ("mv", f"{filled}/other", f"{filled}/text"),
    ]:
        assert "erase it first" in ctl.fails(9, *args)
    assert ctl("cat", f"{filled}/text") == b"some text"
    assert "other" in ctl.names(filled)
    ctl("mv", f"{filled}/text", f"{filled}/moved")
    assert ctl.json("info", f"{filled}/moved")["sealed"] is True
    ctl("put", "--string", f"{filled}/text", "new")
    ctl("erase", f"{filled}/moved")
    ctl("put", "--string", f"{filled}/moved", "new")
    assert ctl.json("info", f"{filled}/moved")["sealed"] is False


def test_large_put_is_refused_too(ctl, filled):
    ctl("seal", f"{filled}/raw")
    ctl.fails(9, "put", f"{filled}/raw", input=bytes(6 << 20))
    assert ctl.json("info", f"{filled}/raw")["size"] == 256 * 20


def test_copies(ctl, ns, filled):
    ctl("seal", f"{filled}/raw")
    ctl("cp", f"{filled}/raw", f"{filled}/copy")
    assert ctl.json("info", f"{filled}/copy")["sealed"] is False
    ctl("cp", filled, ns / "whole")
    assert [b["sealed"] for b in ctl.json("list", ns / "whole")["blobs"]] == [False, True, False]
    ctl("create", ns / "away")
    ctl("mv", f"{filled}/raw", ns / "away")
    assert ctl.json("info", ns / "away" / "raw")["sealed"] is True


def test_one_that_cannot_be_sealed_keeps_not_the_others(ctl, ns, filled):
    assert "nothing" in ctl.fails(3, "seal", f"{filled}/nothing", f"{filled}/raw")
    assert ctl.json("info", f"{filled}/raw")["sealed"] is True
    ctl.fails(2, "seal", filled)
    ctl.fails(2, "seal", ns)
    ctl.fails(2, "seal")


def test_busy(ctl, filled, writer):
    writer(f"{filled}/w")
    ctl.fails(5, "seal", f"{filled}/raw")


def test_checksums_of_every_put(ctl, ns, tmp_path):
    path = f"{ns}/c"
    assert ctl.json("create", "--checksum", path)["checksum"] is True
    assert "of every put" in ctl("info", path).decode()
    data = np.arange(3000, dtype="<u4").tobytes()
    ctl("put", f"{path}/raw", input=data)
    ctl("put", "--string", f"{path}/text", "x")
    big = tmp_path / "big"
    big.write_bytes(bytes(range(1, 256)) * 5000)
    ctl("put", f"{path}/big", big)
    ctl("cp", f"{path}/big", f"{path}/copy")
    infos = {b["name"]: b for b in ctl.json("list", path)["blobs"]}
    assert infos["raw"]["checksum"] == crc32c(data)
    assert infos["text"]["checksum"] == crc32c(b"x")
    assert infos["big"]["checksum"] == infos["copy"]["checksum"] == crc32c(big.read_bytes())
    assert not any(b["sealed"] for b in infos.values())
    assert {line.split()[-2] for line in ctl("list", "-l", path).decode().splitlines()} == {"checksum"}
    ctl("cp", path, ns / "again")
    assert ctl.json("info", ns / "again")["checksum"] is True
    assert ctl.json("info", ns / "again" / "raw")["checksum"] == crc32c(data)


def test_none_without_the_option(ctl, filled):
    assert ctl.json("info", filled)["checksum"] is False
    assert {b["checksum"] for b in ctl.json("list", filled)["blobs"]} == {None}
