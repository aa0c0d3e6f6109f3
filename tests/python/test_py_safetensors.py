"""pymm.io: safetensors files to a shelf and from it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors_files import HOSTILE, entry, file_of, of_arrays
from test_py_containers import SLOW

import killed
import pymm
from pymm import io

ARRAYS = {
    "w": np.arange(12, dtype="<f4").reshape(3, 4), "odd": np.arange(3, dtype="u1"), "b": np.arange(5, dtype="<f8"),
    "scalar": np.array(7, "<i8"), "empty": np.zeros((0, 3), "<f2"), "flags": np.array([True, False]), "ä/ö": np.ones(2, "<i2"),
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(of_arrays(ARRAYS, {"format": "pt", "note": "é"}))
    return path


def same(found, arrays):
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape and (found[name] == array).all()
    return True


def test_arrays(shelf, reopen, path):
    io.load_safetensors(shelf, "m", path, framework="np")
    s = reopen(shelf)
    block = s._state.handle.get("m")
    assert same(s.m, ARRAYS) and same(s.m.plain(), ARRAYS) and same(s["m"].copy(), ARRAYS)
    for name in ("w", "b", "odd"):
        place = s.m[name].__array_interface__["data"][0]
        assert block.address <= place < block.address + block.size and place % 64 == 0 and not s.m[name].flags.writeable
    assert s.m.is_whole and s.m.name == "m" and "w" in s.m and s.m.get("absent") is None
    s.again = s.m
    assert same(s.again, ARRAYS)
    sequence = s._state.handle.stat()["sequence"]
    s.m = s.m
    assert s._state.handle.stat()["sequence"] == sequence
    s.n = [s.m]
    assert same(s.n[0], ARRAYS)
    s.erase(s.m)
    assert "m" not in s
    s.close()


def test_there_and_back(shelf, path, tmp_path):
    for framework in ("pt", "np"):
        io.load_safetensors(shelf, "m", path, framework)
        out = tmp_path / "out.safetensors"
        io.save_safetensors(shelf, "m", out)
        io.load_safetensors(shelf, "again", str(out), "np")
        found = shelf.again
        assert set(found) == set(ARRAYS) and same({name: found[name] for name in ARRAYS}, ARRAYS)
        size, = np.frombuffer(out.read_bytes()[:8], "<u8")
        header = json.loads(out.read_bytes()[8 : 8 + int(size)])
        assert header["__metadata__"] == {"format": "pt", "note": "é"} and size % 8 == 0
        for name in ARRAYS:
            assert header[name]["data_offsets"][0] % ARRAYS[name].itemsize == 0
        io.save_safetensors(shelf, "again", out, metadata={})
        assert b"__metadata__" not in out.read_bytes()
        once = out.read_bytes()
        io.load_safetensors(shelf, "again", out, framework)
        io.save_safetensors(shelf, "again", out)
        assert out.read_bytes() == once and [p.name for p in tmp_path.iterdir() if "out" in p.name] == ["out.safetensors"]
    assert pymm.fsck(shelf._state.path, "test", scrub=True).clean


def test_its_own_library_reads_and_writes_them(shelf, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    path = tmp_path / "theirs.safetensors"
    safetensors.save_file(ARRAYS, path, metadata={"a": "b"})
    io.load_safetensors(shelf, "m", path, "np")
    assert set(shelf.m) == set(ARRAYS) and same({name: shelf.m[name] for name in ARRAYS}, ARRAYS)
    for value in (shelf.m, ARRAYS, {"t": np.arange(12).reshape(3, 4).T, "big": np.arange(3, dtype=">i4")}):
        shelf.x = dict(value)
        io.save_safetensors(shelf, "x", tmp_path / "ours.safetensors")
        found = safetensors.load_file(tmp_path / "ours.safetensors")
        assert set(found) == set(value)
        assert all((found[name] == value[name]).all() and found[name].shape == value[name].shape for name in value)
    io.load_safetensors(shelf, "x", path)
    io.save_safetensors(shelf, "x", tmp_path / "ours.safetensors")
    assert same(dict(sorted(safetensors.load_file(tmp_path / "ours.safetensors").items())), dict(sorted(ARRAYS.items())))


def test_tensors(shelf, reopen, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensors = {
        "w": torch.randn(3, 4), "bf": torch.randn(5).to(torch.bfloat16), "f8": torch.randn(4).to(torch.float8_e4m3fn),
        "t": torch.randn(3, 4).T, "p": torch.nn.Parameter(torch.ones(3)), "empty": torch.zeros(0, 2), "n": torch.tensor(5),
    }  # fmt: skip
    shelf.m = tensors
    shelf.save(tensors, "checkpoint")
    for name in ("m", "checkpoint"):
        io.save_safetensors(shelf, name, tmp_path / name)
        io.load_safetensors(shelf, "x", tmp_path / name)
        for found in (shelf.x, shelf.load("x"), shelf.load("x", copy=False)):
            assert set(found) == set(tensors)
            for key, tensor in tensors.items():
                assert found[key].dtype == tensor.dtype and torch.equal(found[key].float(), tensor.detach().float()), key
        assert isinstance(shelf.x["w"], pymm.torch_tensor.shelved_torch_tensor) and type(shelf.load("x")["w"]) is torch.Tensor
    with pytest.raises(TypeError, match="BF16"):
        io.load_safetensors(shelf, "y", tmp_path / "m", "np")
    assert "y" not in shelf
    theirs = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    found = theirs.load_file(tmp_path / "m")
    assert all(torch.equal(found[key].float(), tensor.detach().float()) for key, tensor in tensors.items())
    model = torch.nn.Linear(3, 2)
    theirs.save_file(model.state_dict(), tmp_path / "model")
    io.load_safetensors(shelf, "model", tmp_path / "model")
    other = torch.nn.Linear(3, 2)
    other.load_state_dict(shelf.load("model"))
    assert torch.equal(other.weight, model.weight)


def test_needs_nothing(shelf, namespace, path, tmp_path):
    shelf.close()
    program = f"""
import sys
for name in ("torch", "safetensors"):
    sys.modules[name] = None
import pymm
s = pymm.shelf('test', pmem_path={namespace!r})
pymm.io.load_safetensors(s, "m", {str(path)!r})
assert len(s.m) == 7 and list(s.m)[0] == "w"
pymm.io.save_safetensors(s, "m", {str(tmp_path / "o")!r})
pymm.io.load_safetensors(s, "m", {str(tmp_path / "o")!r}, "np")
assert s.m["w"].sum() == 66
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_files(shelf, tmp_path, number):
    path = tmp_path / "x"
    path.write_bytes(HOSTILE[number])
    for framework in ("pt", "np"):
        with pytest.raises(pymm.CorruptError, match="safetensors"):
            io.load_safetensors(shelf, "x", path, framework)
    assert "x" not in shelf


@given(st.data())
@SLOW
def test_damaged_files(shelf, tmp_path, data):
    """An answer or CorruptError, as of any bytes."""
    whole = bytearray(of_arrays(ARRAYS, {"a": "b"}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b'0129[]{}",:-')))
    path = tmp_path / "x"
    path.write_bytes(whole[: data.draw(st.sampled_from([len(whole), len(whole) - 1, 9, 100]))])
    try:
        io.load_safetensors(shelf, "x", path, "np")
        shelf.x.plain()
    except (pymm.CorruptError, TypeError):
        pass


def test_what_is_refused(shelf, tmp_path, path):
    for dtype in ("F4", "F6_E2M3", "nonsense"):
        bad = tmp_path / "bad"
        bad.write_bytes(file_of({"a": entry(dtype=dtype)}, b"abcd"))
        with pytest.raises(TypeError, match=dtype):
            io.load_safetensors(shelf, "x", bad)
    with pytest.raises(FileNotFoundError):
        io.load_safetensors(shelf, "x", tmp_path / "absent")
    with pytest.raises(pymm.InvalidArgument):
        io.load_safetensors(shelf, "x", path, "tf")
    assert "x" not in shelf
    with pytest.raises(KeyError):
        io.save_safetensors(shelf, "absent", tmp_path / "out")
    for value in (5, [np.arange(3)], {"a": {"b": np.arange(3)}}, {1: np.arange(3)}, {"__metadata__": np.arange(3)},
                  {"a": np.array(["x"])}, {"a": np.zeros(2, "M8[s]")}, {"a": 5}, np.arange(3)):  # fmt: skip
        shelf.x = value
        with pytest.raises(TypeError, match="x"):
            io.save_safetensors(shelf, "x", tmp_path / "out")
    shelf.x = {"a": np.arange(3)}
    with pytest.raises(TypeError, match="metadata"):
        io.save_safetensors(shelf, "x", tmp_path / "out", metadata={"a": 1})
    with pytest.raises(FileNotFoundError):
        io.save_safetensors(shelf, "x", tmp_path / "no such directory" / "out")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("out")]
    with open(path, "rb") as file:
        before = file.read()
    shelf.x = {"a": np.arange(3), "b": "text"}
    with pytest.raises(TypeError):
        io.save_safetensors(shelf, "x", path)
    assert path.read_bytes() == before


def test_without_room_nothing_changes(shelf, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(of_arrays({"a": np.zeros(20 << 20, "u1")}))
    shelf.x = 5
    with pytest.raises(pymm.NoSpaceError):
        io.load_safetensors(shelf, "x", path)
    assert shelf.x == 5


def test_large_ones_do_not_pass_through_the_heap(shelf, tmp_path, namespace):
    import tracemalloc

    path = tmp_path / "large"
    path.write_bytes(of_arrays({str(i): np.full(3 << 20, i, "u1") for i in range(4)}))
    io.load_safetensors(shelf, "warm", path, "np")
    del shelf.warm
    tracemalloc.start()
    io.load_safetensors(shelf, "x", path, "np")
    io.save_safetensors(shelf, "x", tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20 and os.path.getsize(tmp_path / "out") > 12 << 20
    assert all((shelf.x[str(i)] == i).all() for i in range(4))


PROGRAM = """
import sys
import pymm
s = pymm.shelf('test', pmem_path=sys.argv[1])
for n in range(1, 1000000):
    pymm.io.load_safetensors(s, "x", sys.argv[1] + "/" + str(n % 5), "np")
    print(n, flush=True)
"""


def test_killed_while_loading(shelf, namespace):
    shelf.close()
    for i in range(5):
        with open(f"{namespace}/{i}", "wb") as file:
            file.write(of_arrays({"a": np.full(100_000, i), "b": np.full(3, i, "u1")}))
    acknowledged = killed.acknowledged(PROGRAM, namespace, 5)
    with pymm.shelf("test", pmem_path=namespace) as s:
        number = s.x["b"][0]
        assert number in (acknowledged % 5, (acknowledged + 1) % 5) and (s.x["a"] == number).all() and (s.x["b"] == number).all()
    assert pymm.fsck(namespace, "test", scrub=True).clean
