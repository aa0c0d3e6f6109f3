"""Values that Python stores, as pymmctl shows them."""

import io

import numpy as np
import pytest

pymm = pytest.importorskip("pymm", reason="no Python module pymm: run through scripts/env")

VALUES = {
    # kind, value, what cat prints
    "zero": ("integer", 0, "0"),
    "minus": ("integer", -5, "-5"),
    "byte": ("integer", -128, "-128"),
    "int64": ("integer", -(2**63), str(-(2**63))),
    "2**64": ("integer", 2**64, str(2**64)),
    "large": ("integer", -(10**300) + 7, str(-(10**300) + 7)),
    "tenth": ("real", 0.1, "0.1"),
    "three": ("real", 3.0, "3.0"),
    "1e22": ("real", 1e22, "1e+22"),
    "tiny": ("real", 5e-324, "5e-324"),
    "inf": ("real", float("-inf"), "-inf"),
    "complex": ("complex", 1.5 - 2j, "(1.5-2j)"),
    "yes": ("boolean", True, "True"),
    "no": ("boolean", False, "False"),
    "none": ("none", None, "None"),
    "float32": ("scalar", np.float32(0.1), "0.1"),
    "uint8": ("scalar", np.uint8(200), "200"),
    "uint64": ("scalar", np.uint64(2**64 - 1), str(2**64 - 1)),
    "int16": ("scalar", np.int16(-2), "-2"),
}


@pytest.fixture
def values(ctl, ns):
    shelf = pymm.shelf("s", pmem_path=str(ns), size_mb=32, mode="a")
    for name, (_, value, _) in VALUES.items():
        shelf[name] = value
    shelf["text"] = "snow 雪"
    shelf["bytes"] = b"\0\xff"
    shelf["array"] = np.arange(6, dtype=">i2").reshape(2, 3)
    shelf["scalar"] = np.datetime64("2025-01-01", "us")
    shelf.close()
    return f"{ns}/s"


def test_cat_prints_them_as_python_does(ctl, values):
    for name, (kind, _, text) in VALUES.items():
        assert ctl.json("info", f"{values}/{name}")["kind"] == kind, name
        assert ctl("cat", f"{values}/{name}") == text.encode() + b"\n", name
        assert ctl("get", "--format", "text", f"{values}/{name}") == text.encode() + b"\n", name


def test_others_are_their_bytes(ctl, values):
    assert ctl("cat", f"{values}/text") == "snow 雪".encode()
    assert ctl("cat", f"{values}/bytes") == b"\0\xff"
    assert ctl("cat", f"{values}/array") == np.arange(6, dtype=">i2").tobytes()
    assert ctl("cat", f"{values}/scalar") == np.datetime64("2025-01-01", "us").tobytes()


def test_a_huge_integer_is_hexadecimal(ctl, values, ns):
    shelf = pymm.shelf("s", pmem_path=str(ns))
    shelf["huge"] = -(16**10000 - 1)
    shelf.close()
    assert ctl("cat", f"{values}/huge") == b"-0x" + b"f" * 10000 + b"\n"


def test_scalars_to_npy(ctl, values):
    loaded = np.load(io.BytesIO(ctl("get", "--format", "npy", f"{values}/float32")))
    assert loaded.shape == () and loaded.dtype == np.float32 and loaded == np.float32(0.1)


def test_python_reads_what_was_put(ctl, ns, values):
    a = np.asfortranarray(np.random.default_rng(3).random((30, 40)))
    file = io.BytesIO()
    np.save(file, a)
    ctl("put", f"{values}/put", input=file.getvalue())
    ctl("put", "--string", f"{values}/model/name", "ü")
    shelf = pymm.shelf("s", pmem_path=str(ns))
    assert np.array_equal(shelf["put"], a) and shelf["put"].flags.f_contiguous
    assert shelf["model/name"] == "ü"
    ctl.fails(5, "put", "--string", f"{values}/x", "held by Python")
    assert ctl("cat", f"{values}/tenth") == b"0.1\n"
    shelf.close()
