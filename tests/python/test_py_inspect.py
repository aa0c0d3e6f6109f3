"""What a shelf says of itself: inspect(), supported_types(), addresses."""

import array
import collections
import ctypes
import importlib
import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import pymm


def test_inspect_lists_every_variable(shelf, capfd, monkeypatch):
    monkeypatch.delenv("PYMM_DEBUG", raising=False)
    shelf.x = np.zeros((10, 3))
    shelf.text = pymm.string("hello")
    for i in range(50):
        shelf[f"n{i}"] = i
    report = shelf.inspect()
    lines = report.split("\n")
    assert isinstance(report, str) and repr(report) == report and "52 variables" in lines[0] and "'test'" in lines[0]
    assert lines[1].split() == ["name", "type", "bytes"] and len(lines) == 54
    assert lines[-1].split() == ["x", "<f8", "(10,", "3)", "240"] and lines[-2].split() == ["text", "string", "5"]
    assert capfd.readouterr() == ("", "")


def test_inspect_in_full(shelf):
    shelf.x, shelf.n = np.zeros(1000), 5
    shelf.seal("x")
    first, second, head, n, x = shelf.inspect(verbose=True).split("\n")
    assert "uuid" in second and "granularity" in second
    assert head.split() == ["name", "type", "bytes", "id", "commit", "offset", "extent", "modified", "state"]
    assert "catalogue" in n and x.rstrip().split()[-3:-1] == ["sealed,", "crc32c"] and "8192" in x
    assert shelf.inspect(True) == shelf.inspect(verbose=True) != shelf.inspect()


def test_inspect_an_empty_one_and_a_closed_one(shelf):
    assert "0 variables" in shelf.inspect() and "\n" not in shelf.inspect()
    shelf.close()
    with pytest.raises(pymm.ClosedError):
        shelf.inspect()


def test_names_that_would_disturb(shelf):
    shelf["a\nb\x1b[2J"] = 1
    shelf["<b>"] = 1
    report = shelf.inspect()
    for text in (report, repr(shelf)):
        assert len(text.split("\n")) == 4 and "\x1b" not in text and r"'a\nb\x1b[2J'" in text
    assert report._repr_html_().startswith("<pre>") and "&lt;b&gt;" in report._repr_html_()
    assert "<b>" not in report._repr_html_()


@pytest.mark.parametrize("level, logged", [("0", False), ("1", False), ("2", True), ("3", True), ("", False)])
def test_inspect_is_logged_on_request(shelf, namespace, monkeypatch, level, logged):
    shelf.x = 1
    shelf.close()
    program = f"import pymm; print(pymm.shelf('test', pmem_path={namespace!r}).inspect())"
    monkeypatch.setenv("PYMM_DEBUG", level)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    reported = [f"pymm: debug: {line}" for line in run.stdout.splitlines()]
    # The library's own lines are there as well.
    assert [line for line in run.stderr.splitlines() if line in reported] == (reported if logged else [])


def example(name, tmp_path):
    """Something of each type that shelves say they support."""
    return {
        "pymm.ndarray": lambda: pymm.ndarray((2, 2)),
        "pymm.string": lambda: pymm.string("x"),
        "pymm.float_number": lambda: pymm.float_number(1),
        "pymm.integer_number": lambda: pymm.integer_number(1),
        "pymm.bytes": lambda: pymm.bytes(b"x"),
        "pymm.linked_list": lambda: pymm.linked_list([1]),
        "numpy.ndarray": lambda: np.zeros(3),
        "numpy.memmap": lambda: np.memmap(tmp_path / "m", mode="w+", shape=3),
        "numpy.generic": lambda: np.int16(3),
        "str": lambda: "x",
        "bytes": lambda: b"x",
        "int": lambda: 1,
        "float": lambda: 1.5,
        "complex": lambda: 1j,
        "bool": lambda: True,
        "None": lambda: None,
        "list": lambda: [1, np.zeros(3)],
        "tuple": lambda: (1, "x"),
        "dict": lambda: {"a": [1]},
        "collections.OrderedDict": lambda: collections.OrderedDict(a=1),
        "pymm.dlpack_array": lambda: pymm.dlpack_array(np.zeros(3)),
        "pymm.torch_tensor": lambda: pymm.torch_tensor((2, 2)),
        "torch.Tensor": lambda: importlib.import_module("torch").zeros(3),
        "memoryview": lambda: memoryview(b"x"),
        "bytearray": lambda: bytearray(b"x"),
        "array.array": lambda: array.array("d", [1]),
        "pandas.DataFrame": lambda: importlib.import_module("pandas").DataFrame({"a": [1]}),
        "pandas.Series": lambda: importlib.import_module("pandas").Series([1]),
        "pandas.Index": lambda: importlib.import_module("pandas").Index([1]),
        "scipy.sparse": lambda: importlib.import_module("scipy.sparse").csr_matrix((2, 2)),
    }[name]()


def test_supported_types_are_supported(shelf, tmp_path):
    names = shelf.supported_types()
    assert isinstance(names, list) and len(set(names)) == len(names)
    assert {"pymm.ndarray", "pymm.string", "pymm.float_number", "pymm.integer_number", "pymm.bytes"} <= set(names)
    assert "pymm.pickled" in names
    names.remove("pymm.pickled")  # where it is allowed: test_py_pickled.py
    for name in names:
        package = "torch" if "torch" in name else name.partition(".")[0]
        if package in ("torch", "pandas", "scipy") and importlib.util.find_spec(package) is None:
            continue  # tests of their own say that they were left out
        value = example(name, tmp_path)
        if name not in ("None", "scipy.sparse"):
            module, _, cls = name.rpartition(".")
            expected = getattr(importlib.import_module(module or "builtins"), cls)
            assert isinstance(value, expected)
        shelf["it"] = value
        shelf["it"]
    names.clear()
    assert shelf.supported_types()


def test_addresses(shelf):
    shelf.x = np.arange(10)
    shelf.e = np.zeros(0)
    assert shelf.x.addr == shelf.x.ctypes.data == shelf.x.asndarray().ctypes.data
    assert ctypes.c_int64.from_address(shelf.x.addr + 3 * 8).value == 3
    assert shelf.x[4:].addr == shelf.x.addr + 32 and shelf.x[::-1].addr == shelf.x.addr + 72
    assert isinstance(shelf.e.addr, int)
    assert pymm.ndarray.shelved_ndarray((3,)).addr is None
    assert type(shelf.x.asndarray()) is np.ndarray
    shelf.x.asndarray()[0] = 9
    assert shelf.x[0] == 9 and shelf.x.name == shelf.x[1:].name == "x"
    with pytest.raises(AttributeError):
        shelf.x.addr = 5
