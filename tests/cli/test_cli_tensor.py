"""Tensors of PyTorch's, as pymmctl sees them. They are put by the module; no PyTorch is needed."""

import json

import numpy as np
import pytest

pymm = pytest.importorskip("pymm", reason="no Python module pymm: run through scripts/env")


@pytest.fixture
def tensors(ns):
    """A shelf with tensors: in C order, in an order of PyTorch's own, of elements that NumPy does not know."""
    with pymm.shelf("s", pmem_path=str(ns), size_mb=8) as s:
        put = s._state.handle.put_tensor
        put("w", np.arange(6, dtype="<f4").tobytes(), "<f4", 4, (2, 3), (12, 4))
        put("t", np.arange(6, dtype="<f4").tobytes(), "<f4 requires_grad", 4, (2, 3), (4, 8))
        put("last", bytes(24), "|u1", 1, (1, 2, 3, 4), (24, 1, 8, 2))
        put("b", b"\x80\x3f" * 3, "bfloat16", 2, (3,), (2,))
    return f"{ns}/s"


def test_list_and_info(ctl, tensors):
    assert ctl.names(tensors) == ["b", "last", "t", "w"]
    lines = ctl("list", "-l", tensors).decode().splitlines()
    assert any("tensor" in line and "<f4 requires_grad" in line and "(2, 3)" in line for line in lines)
    assert any("bfloat16" in line and "(3,)" in line for line in lines)
    text = ctl("info", f"{tensors}/t").decode()
    assert "tensor" in text and "(4, 8)" in text
    info = ctl.json("info", f"{tensors}/last")
    assert (info["kind"], info["dtype"], info["shape"], info["strides"], info["order"]) == (
        "tensor", "|u1", [1, 2, 3, 4], [24, 1, 8, 2], None,
    )  # fmt: skip
    assert json.loads(ctl("info", "--json", f"{tensors}/w"))["order"] == "C"


def test_get(ctl, tensors, tmp_path):
    ctl("get", f"{tensors}/w", tmp_path / "w.npy")
    ctl("get", f"{tensors}/t", tmp_path / "t.npy")
    assert np.load(tmp_path / "w.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    turned = np.load(tmp_path / "t.npy")
    assert turned.tolist() == [[0, 2, 4], [1, 3, 5]] and turned.dtype == np.float32
    ctl("get", f"{tensors}/b", tmp_path / "b.bin")
    assert (tmp_path / "b.bin").read_bytes() == b"\x80\x3f" * 3
    assert "raw" in ctl.fails(2, "get", f"{tensors}/b", tmp_path / "b.npy")
    assert "contiguous" in ctl.fails(2, "get", f"{tensors}/last", tmp_path / "last.npy")
    assert ctl("get", "--format", "raw", f"{tensors}/last") == bytes(24)
    assert ctl("cat", f"{tensors}/b") == b"\x80\x3f" * 3


def test_copies_and_checks(ctl, tensors, ns):
    ctl("cp", f"{tensors}/b", f"{tensors}/c")
    assert ctl.json("info", f"{tensors}/c")["dtype"] == "bfloat16"
    ctl("seal", f"{tensors}/w")
    ctl("fsck", "--scrub", ns)
    with pymm.shelf("s", pmem_path=str(ns)) as s:
        assert pymm.torch_tensor.asndarray(s, "c").tolist() == [0x3F80] * 3
        assert not pymm.torch_tensor.asndarray(s, "w").flags.writeable
