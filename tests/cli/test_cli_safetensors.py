"""safetensors files, put and got; the same ones as pymm.io makes and reads."""

import json

import numpy as np
import pytest
from safetensors_files import HOSTILE, NUMPY, entry, file_of, of_arrays

pymm = pytest.importorskip("pymm", reason="no Python module pymm: run through scripts/env")

ARRAYS = {
    "w": np.arange(12, dtype="<f4").reshape(3, 4), "odd": np.arange(3, dtype="u1"), "b": np.arange(5, dtype="<f8"),
    "scalar": np.array(7, "<i8"), "empty": np.zeros((0, 3), "<f2"), "flags": np.array([True, False]),
    "ä \"/\\ö\n": np.ones(2, "<i2"), "large": np.arange(3_000_000, dtype="<f4"),
}  # fmt: skip


def parsed(data):
    """The arrays in a file, and its metadata."""
    length = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    metadata = header.pop("__metadata__", None)
    assert length % 8 == 0 and sum(e["data_offsets"][1] - e["data_offsets"][0] for e in header.values()) == len(rest)
    arrays = {}
    for name, e in header.items():
        first, last = e["data_offsets"]
        arrays[name] = np.frombuffer(rest[first:last], NUMPY[e["dtype"]]).reshape(e["shape"])
        assert first % arrays[name].itemsize == 0
    return arrays, metadata


def same(found, arrays):
    return set(found) == set(arrays) and all(
        found[name].dtype == array.dtype and found[name].shape == array.shape and (found[name] == array).all()
        for name, array in arrays.items()
    )


@pytest.fixture
def shelf(ctl, ns):
    ctl("create", "-s", "64M", f"{ns}/s")
    return f"{ns}/s"


def test_there_and_back(ctl, ns, shelf):
    (ns / "m.safetensors").write_bytes(of_arrays(ARRAYS, {"format": "pt", "ä": "\n"}))
    ctl("put", f"{shelf}/m", ns / "m.safetensors")
    assert ctl.json("info", f"{shelf}/m")["object"] == "safetensors" and b"'w': tensor((3, 4), '<f4')" in ctl("cat", f"{shelf}/m")
    ctl("get", f"{shelf}/m", ns / "out.safetensors")
    arrays, metadata = parsed((ns / "out.safetensors").read_bytes())
    assert same(arrays, ARRAYS) and metadata == {"format": "pt", "ä": "\n"}
    # Through pipes, and by way of pymm.io.
    ctl("put", "--format", "safetensors", f"{shelf}/p", "-", input=(ns / "out.safetensors").read_bytes())
    assert ctl("get", "--format", "safetensors", f"{shelf}/p") == (ns / "out.safetensors").read_bytes()
    with pymm.shelf("s", pmem_path=str(ns)) as s:
        pymm.io.save_safetensors(s, "m", ns / "python.safetensors")
        pymm.io.load_safetensors(s, "python", ns / "out.safetensors")
        pymm.io.load_safetensors(s, "arrays", ns / "out.safetensors", "np")
        assert same(s.arrays, ARRAYS)
        # The same bytes, whoever wrote them.
        blocks = [s._state.handle.get(name) for name in ("python", "p")]
        assert blocks[0].read(0, blocks[0].size) == blocks[1].read(0, blocks[1].size)
    assert same(parsed((ns / "python.safetensors").read_bytes())[0], ARRAYS)
    assert same(parsed(ctl("get", "--format", "safetensors", f"{shelf}/arrays"))[0], ARRAYS)
    assert ctl.run("fsck", "-n", "--scrub", shelf).returncode == 0


def test_what_python_stored(ctl, ns, shelf):
    strided = {"t": np.arange(12.0).reshape(3, 4).T, "c": np.arange(24, dtype="<i2").reshape(2, 3, 4).transpose(2, 0, 1), "e": np.zeros((2, 0))}
    with pymm.shelf("s", pmem_path=str(ns)) as s:
        s.m, s.empty = dict(strided), {}
        s.save(strided, "c")
        s.bad, s.text, s.n, s.key, s.l = {"x": np.array(["a"])}, {"x": "a"}, 5, {1: np.zeros(3)}, [np.zeros(3)]
        s.big, s.meta, s.odd = {"x": np.zeros(3, ">i4")}, {"__metadata__": np.zeros(3)}, {"\ud800": np.zeros(3)}
    for name in ("m", "checkpoints/c/000000000001"):
        assert same(parsed(ctl("get", "--format", "safetensors", f"{shelf}/{name}"))[0], strided)
    assert parsed(ctl("get", "--format", "safetensors", f"{shelf}/empty")) == ({}, None)
    for name in ("bad", "text", "n", "key", "l", "big", "meta", "odd"):
        assert "safetensors" in ctl.fails(2, "get", f"{shelf}/{name}", ns / "out.safetensors")
        assert not (ns / "out.safetensors").exists()
    ctl("put", "--format", "raw", f"{shelf}/raw", "-", input=b"x")
    ctl.fails(2, "get", "--format", "safetensors", f"{shelf}/raw")


def test_its_own_library(ctl, ns, shelf):
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    safetensors.save_file(ARRAYS, ns / "theirs.safetensors", metadata={"a": "b"})
    ctl("put", f"{shelf}/m", ns / "theirs.safetensors")
    ctl("get", f"{shelf}/m", ns / "ours.safetensors")
    assert same(safetensors.load_file(ns / "ours.safetensors"), ARRAYS)


def test_hostile_files(ctl, ns, shelf):
    ctl("put", "--string", f"{shelf}/x", "before")
    for data in [*HOSTILE, file_of(b'{"a":' + b"[" * 1_000_000, b"")]:
        (ns / "x.safetensors").write_bytes(data)
        assert "safetensors" in ctl.fails(7, "put", f"{shelf}/x", ns / "x.safetensors"), data[:200]
        ctl.fails(7, "put", "--format", "safetensors", f"{shelf}/x", "-", input=data)
    for dtype in ("F4", "F6_E2M3", "nonsense\n"):
        (ns / "x.safetensors").write_bytes(file_of({"a": entry(dtype=dtype)}, b"abcd"))
        ctl.fails(8, "put", f"{shelf}/x", ns / "x.safetensors")
    assert ctl("cat", f"{shelf}/x") == b"before"
    # By its name only, and not where another format is asked for.
    ctl("put", "--format", "raw", f"{shelf}/x", ns / "x.safetensors")
    ctl("put", "--bytes", f"{shelf}/x", ns / "x.safetensors")
    (ns / "x.bin").write_bytes(of_arrays({"a": np.zeros(3)}))
    ctl("put", f"{shelf}/x", ns / "x.bin")
    assert ctl.json("info", f"{shelf}/x")["kind"] == "raw"


def test_many_tensors_take_no_long_time(ctl, ns, shelf):
    header = {f"layer {i}": entry(offsets=(i, i + 1), shape=(1,)) for i in range(100_000)}
    (ns / "x.safetensors").write_bytes(file_of(header, b"\1" * 100_000))
    ctl("put", f"{shelf}/x", ns / "x.safetensors")
    ctl("get", f"{shelf}/x", ns / "y.safetensors")
    assert parsed((ns / "y.safetensors").read_bytes())[0]["layer 99999"] == 1


def test_a_forged_blob(ctl, ns, shelf):
    parts = pymm._objects.Parts
    with pymm.shelf("s", pmem_path=str(ns)) as s:
        for number, value in enumerate([
            parts("safetensors", {}), parts("safetensors", {"tensors": 5, "metadata": {}}), parts("safetensors", {"tensors": {}, "metadata": 5}),
            parts("safetensors", {"tensors": {}, "metadata": {"a": 5}}), parts("safetensors", {"tensors": [], "metadata": {}}),
        ]):  # fmt: skip
            plan = pymm._nest.Plan("x", value)
            stage = s._state.handle.stage_value(10, plan.size)
            plan.write(stage)
            s._state.handle.put_stage(f"x{number}", stage)
            with pytest.raises((pymm.CorruptError, TypeError)):
                pymm.io.save_safetensors(s, f"x{number}", ns / "out")
            if number not in (2, 3):
                with pytest.raises(pymm.CorruptError):
                    s[f"x{number}"]
    for number in range(5):
        ctl.fails(7, "get", "--format", "safetensors", f"{shelf}/x{number}")
