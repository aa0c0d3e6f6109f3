"""Lists, tuples and dicts that Python stores, as pymmctl shows them."""

import ast
import collections
import json

import numpy as np
import pytest

pymm = pytest.importorskip("pymm", reason="no Python module pymm: run through scripts/env")

VALUE = [
    1, -(2**70), 2.5, True, None, "it's\n\x1b[31m\u0085 snow 雪", b"\0'\xff", 1.5 - 2j,
    {"a": (1,), (2, "b"): [], "": {}}, (), ((), []), np.float32(0.5),
]  # fmt: skip


@pytest.fixture
def path(ctl, ns):
    shelf = pymm.shelf("s", pmem_path=str(ns), size_mb=32, mode="a")
    shelf["x"] = VALUE
    shelf["arrays"] = {"w": np.zeros((2, 3), "<f4"), "n": collections.OrderedDict(t=np.datetime64("2025-01-01", "us"))}
    shelf["nest"] = {"a": [1, 2.5, None, True, "t\u0001\u96ea"], "b": {"c": (1, (2,))}, "large": 2**70, "inf": float("inf")}
    shelf["pairs"] = {1: "a", ("x", 2): b"b"}
    shelf["long"] = list(range(100_000))
    shelf["text"] = ["é" * 100_000, "e" + "é" * 100_000]
    shelf["number"] = 5
    shelf.close()
    return f"{ns}/s"


def test_cat_prints_them_as_python_does(ctl, path):
    text = ctl("cat", f"{path}/x").decode()
    assert text.endswith("\n") and text.count("\n") == 1 and all(c.isprintable() for c in text[:-1])
    assert ast.literal_eval(text) == [*VALUE[:-1], 0.5]
    assert ctl("get", f"{path}/x").decode() == ctl("get", "--format", "text", f"{path}/x").decode() == text
    assert ctl("cat", f"{path}/arrays") == (
        b"{'w': array((2, 3), '<f4'), 'n': OrderedDict({'t': scalar('<M8[us]')})}\n"
    )


def test_long_ones_are_cut_off(ctl, path):
    text = ctl("cat", f"{path}/long").decode()
    assert text.startswith("[0, 1, 2, ") and text.endswith("...\n") and 60_000 < len(text) < 70_000
    text = ctl("cat", f"{path}/text").decode()
    assert text == f"['{'é' * 2048}'..., 'e{'é' * 2047}'...]\n"


def test_json(ctl, path):
    assert ctl.json("cat", f"{path}/nest") == {
        "a": [1, 2.5, None, True, "t\u0001\u96ea"], "b": {"c": [1, [2]]}, "large": str(2**70), "inf": "inf"
    }  # fmt: skip
    assert ctl.json("cat", f"{path}/pairs") == [[1, "a"], [["x", 2], "b'b'"]]
    assert ctl.json("cat", f"{path}/long") == list(range(100_000))
    assert ctl.json("cat", f"{path}/arrays")["w"] == {"dtype": "<f4", "shape": [2, 3]}
    assert json.loads(ctl("cat", "--json", f"{path}/text"))[0] == "é" * 100_000
    ctl.fails(2, "cat", "--json", f"{path}/number")


def test_what_packages_made(ctl, path, ns):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    with pymm.shelf("s", pmem_path=str(ns)) as shelf:
        shelf["m"] = sparse.csr_matrix(np.eye(3))
        shelf["in"] = [shelf["m"], 5]
        plan = pymm._nest.Plan("odd", pymm._objects.Parts("odd\x1b[31m name", {"a": 1}))
        stage = shelf._state.handle.stage_value(10, plan.size)
        plan.write(stage)
        shelf._state.handle.put_stage("odd", stage)
    text = (
        "scipy.sparse.csr_matrix({'shape': (3, 3), 'data': array((3,), '<f8'), 'indices': array((3,), '<i4'), "
        "'indptr': array((4,), '<i4')})"
    )
    assert ctl("cat", f"{path}/m").decode() == text + "\n"
    assert ctl("cat", f"{path}/in").decode() == f"[{text}, 5]\n"
    assert ctl("cat", f"{path}/odd").decode() == "object 'odd\\x1b[31m name'({'a': 1})\n"
    found = ctl.json("cat", f"{path}/m")
    assert found["object"] == "scipy.sparse.csr_matrix" and found["parts"]["shape"] == [3, 3]
    assert ctl.json("info", f"{path}/m")["object"] == "scipy.sparse.csr_matrix"
    assert b"scipy.sparse.csr_matrix" in ctl("info", f"{path}/m") and b"object" not in ctl("info", f"{path}/in")
    assert "object" not in ctl.json("info", f"{path}/in")
    assert ctl.run("fsck", "-n", "--scrub", path).returncode == 0


def test_list_info_cp_get(ctl, path, ns):
    assert ctl.json("info", f"{path}/x")["kind"] == "tree"
    assert b"tree" in ctl("info", f"{path}/x") and b"tree" in ctl("list", "-l", path)
    raw = ctl("get", "--format", "raw", f"{path}/x")
    assert raw.startswith(b"PYMMTREE") and len(raw) == ctl.json("info", f"{path}/x")["size"]
    ctl.fails(2, "get", "--format", "npy", f"{path}/x")
    ctl("cp", f"{path}/x", f"{path}/y")
    ctl("create", "-s", "32M", f"{ns}/t")
    ctl("mv", f"{path}/y", f"{ns}/t/y")
    shelf = pymm.shelf("t", pmem_path=str(ns), mode="r")
    assert shelf.y == VALUE
    shelf.close()


def test_a_damaged_one(ctl, path, ns):
    info = ctl.json("info", f"{path}/x")
    with open(f"{ns}/s.data", "r+b") as f:
        f.seek(info["offset"] + 60)
        (byte,) = f.read(1)
        f.seek(info["offset"] + 60)
        f.write(bytes((byte ^ 1,)))
    for command in (["cat"], ["cat", "--json"], ["get"]):
        message = ctl.fails(7, *command, f"{path}/x")
        assert f"{path}/x" in message and "checksum" in message
    assert ctl("get", "--format", "raw", f"{path}/x")
    done = ctl.run("fsck", "-n", "--scrub", f"{path}")
    assert done.returncode == 4 and b"tree" in done.stdout, done
    assert ctl("cat", f"{path}/nest")
