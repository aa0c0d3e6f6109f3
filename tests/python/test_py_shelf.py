"""The shelf as an object: names, items, attributes, opening, closing, errors."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

import pymm


def test_attributes_and_items_are_the_same(shelf):
    shelf.x = 1
    shelf["y"] = 2
    assert shelf["x"] == 1 and shelf.y == 2
    assert list(shelf) == ["x", "y"] == shelf.items and len(shelf) == 2
    assert "x" in shelf and "z" not in shelf and 5 not in shelf and "/../" not in shelf
    del shelf.x
    del shelf["y"]
    assert len(shelf) == 0 and not list(shelf) and shelf


def test_a_missing_name(shelf):
    for prepare in (lambda: None, lambda: setattr(shelf, "other", 1), lambda: shelf.other):
        prepare()
        assert not hasattr(shelf, "x") and getattr(shelf, "x", 7) == 7
        with pytest.raises(AttributeError, match="'x'"):
            shelf.x
        with pytest.raises(KeyError, match="x"):
            shelf["x"]
        with pytest.raises(AttributeError, match="'x'"):
            del shelf.x
        with pytest.raises(KeyError):
            del shelf["x"]
        with pytest.raises(KeyError):
            shelf.erase("x")
        with pytest.raises(KeyError):
            shelf.rename("x", "y")


@pytest.mark.parametrize("name", ["persist", "items", "close", "used", "name", "_state", "_load", "batch"])
def test_names_that_are_ours(shelf, reopen, name):
    with pytest.raises(AttributeError, match=f"s\\['{name}'\\]"):
        setattr(shelf, name, 5)
    with pytest.raises(AttributeError):
        delattr(shelf, name)
    shelf[name] = np.arange(3)
    shelf[name] += 1
    assert not isinstance(getattr(shelf, name), np.ndarray)
    s = reopen(shelf)
    assert s[name].tolist() == [1, 2, 3] and name in s
    assert not isinstance(getattr(s, name), np.ndarray)
    del s[name]
    assert name not in s
    s.close()


def test_dunder_names_are_python_s(shelf):
    with pytest.raises(AttributeError):
        shelf.__class__ = int
    with pytest.raises(AttributeError):
        shelf.__thing__ = 1
    shelf["__thing__"] = 1
    assert not hasattr(shelf, "__thing__") and shelf["__thing__"] == 1


def test_leading_underscores_are_allowed(shelf):
    shelf._x = 1
    assert shelf._x == 1 and "_x" in shelf


@pytest.mark.parametrize("name", ["a/b", "model/conv1.weight", "ü", "名前", "with space", "1", "x" * 1024])
def test_any_legal_name(shelf, reopen, name):
    shelf[name] = np.arange(2)
    shelf[name] *= 3
    s = reopen(shelf)
    assert s[name].tolist() == [0, 3] and s.items == [name] and s[name].name == name
    s.close()


@pytest.mark.parametrize("name", ["", "/", "a/", "/a", "a//b", "a/../b", "/../", "..", ".", "a\0b", "x" * 1025, "\ud800"])
def test_illegal_names(shelf, name):
    shelf.x = 1
    for value in (1, np.zeros(3), pymm.ndarray(3)):
        with pytest.raises(ValueError) as caught:
            shelf[name] = value
        assert isinstance(caught.value, pymm.InvalidArgument)
    with pytest.raises((KeyError, ValueError)):
        shelf[name]
    with pytest.raises(ValueError):
        shelf.rename("x", name)
    assert not hasattr(shelf, name) and name not in shelf and shelf.items == ["x"]


@pytest.mark.parametrize("name", [1, None, b"x", ("a",)])
def test_names_are_str(shelf, name):
    with pytest.raises(TypeError):
        shelf[name] = 1
    with pytest.raises(TypeError):
        shelf[name]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "x" * 201, "\0"])
def test_illegal_shelf_names(namespace, name):
    with pytest.raises(pymm.InvalidArgument):
        pymm.shelf(name, pmem_path=namespace)
    assert os.listdir(namespace) == []


def test_rename(shelf):
    shelf.x = np.arange(3)
    view = shelf.x
    shelf.y = 1
    with pytest.raises(FileExistsError):
        shelf.rename("x", "y")
    shelf.rename("x", "y", replace=True)
    assert shelf.items == ["y"] and shelf.y.tolist() == [0, 1, 2]
    assert not hasattr(shelf, "x")
    view += 1
    assert shelf.y.tolist() == [1, 2, 3]


def test_batch(shelf, reopen):
    shelf.a, shelf.b, shelf.c = 1, 2, np.zeros(3)
    shelf.a, shelf.b, shelf.c  # opened
    with shelf.batch() as batch:
        batch["a"] = 10
        batch["d"] = np.arange(4)[::2]
        batch["e"] = pymm.ndarray((2, 2))
        batch["arr"] = np.arange(6).reshape(2, 3, order="F")
        del batch["b"]
        batch.rename("c", "z")
        assert shelf.items == ["a", "b", "c"] and shelf.a == 1 and len(batch) == 6
    assert shelf.items == ["a", "arr", "d", "e", "z"] and shelf.a == 10
    with pytest.raises(ValueError):
        batch["x"] = 1
    with pytest.raises(ZeroDivisionError):
        with shelf.batch() as batch:
            batch["a"] = 11
            1 / 0
    with pytest.raises(KeyError):
        with shelf.batch() as batch:
            batch["a"] = 11
            del batch["nothing"]
    assert shelf.a == 10
    s = reopen(shelf)
    assert s.a == 10 and s.d.tolist() == [0, 2] and s.z.shape == (3,) and "b" not in s
    s.close()


def test_opening_twice_gives_the_same_shelf(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=4)
    s.a = 1
    assert pymm.shelf("x", pmem_path=namespace) is s
    assert pymm.shelf("x", pmem_path=namespace + "/.") is s
    link = namespace + "/../link-to-it"
    os.symlink(namespace, link)
    assert pymm.shelf("x", pmem_path=link) is s
    s.close()
    os.unlink(link)
    t = pymm.shelf("x", pmem_path=namespace)
    assert t.a == 1
    t.close()


def test_closed_and_opened_again_while_a_view_lives(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=4)
    s.a = np.zeros(3)
    view = s.a
    s.close()
    t = pymm.shelf("x", pmem_path=namespace)
    view += 1
    assert t.a.tolist() == [1, 1, 1]
    t.a = np.ones(2)
    for one in (s, t):
        try:
            assert one.a.shape == (2,)
        except pymm.ClosedError:
            assert one is s
    t.close()


def test_force_new_in_a_notebook(namespace):
    for _ in range(3):
        s = pymm.shelf("x", pmem_path=namespace, size_mb=4, force_new=True)
        assert s.items == []
        s.a = np.arange(3)
        s.a += 1
    view = s.a
    with pytest.raises(pymm.BusyError):
        pymm.shelf("x", pmem_path=namespace, size_mb=4, force_new=True)
    assert view.tolist() == [1, 2, 3]
    del view
    s = pymm.shelf("x", pmem_path=namespace, size_mb=4, force_new=True)
    assert s.items == []
    s.close()


def test_modes(namespace):
    for mode in ("r", "r+"):
        with pytest.raises(FileNotFoundError) as caught:
            pymm.shelf("x", pmem_path=namespace, mode=mode)
        assert isinstance(caught.value, pymm.NotFound) and caught.value.errno == errno.ENOENT
    pymm.shelf("x", pmem_path=namespace, size_mb=4, mode="x").close()
    for mode in ("x", "w-"):
        with pytest.raises(FileExistsError):
            pymm.shelf("x", pmem_path=namespace, mode=mode)
    with pymm.shelf("x", pmem_path=namespace, mode="r+") as s:
        s.a = 1
    with pymm.shelf("x", pmem_path=namespace, mode="w", size_mb=4) as s:
        assert s.items == []
    for bad in ({"mode": "q"}, {"size_mb": 0}, {"size_mb": -1}, {"mode": "r", "force_new": True}):
        with pytest.raises(ValueError):
            pymm.shelf("x", pmem_path=namespace, **bad)


def test_no_namespace(namespace):
    with pytest.raises(FileNotFoundError):
        pymm.shelf("x", pmem_path=os.path.join(namespace, "missing"))
    with pytest.raises(TypeError):
        pymm.shelf("x", pmem_path=b"bytes")


def test_default_path(namespace, monkeypatch):
    monkeypatch.setenv("PYMM_PATH", namespace)
    with pymm.shelf("x", size_mb=4) as s:
        s.a = 1
    assert os.path.exists(os.path.join(namespace, "x.map"))
    monkeypatch.delenv("PYMM_PATH")
    if os.path.isdir("/mnt/pmem0"):
        pytest.skip("this machine has /mnt/pmem0")
    monkeypatch.setenv("XDG_DATA_HOME", os.path.join(namespace, "data"))
    with pymm.shelf("x", size_mb=4) as s:
        s.a = 1
    assert os.path.exists(os.path.join(namespace, "data", "pymm", "x.map"))
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", os.path.join(namespace, "home"))
    pymm.shelf("x", size_mb=4).close()
    assert os.path.exists(os.path.join(namespace, "home", ".local", "share", "pymm", "x.map"))


def test_after_close(shelf):
    shelf.x = np.arange(3)
    shelf.close()
    shelf.close()
    for action in (
        lambda: shelf.x,
        lambda: shelf["x"],
        lambda: shelf.items,
        lambda: len(shelf),
        lambda: "x" in shelf,
        lambda: setattr(shelf, "x", 1),
        lambda: shelf.persist(),
        lambda: shelf.used,
        lambda: shelf.batch(),
        lambda: shelf.erase("x"),
    ):
        with pytest.raises(pymm.ClosedError):
            action()
    assert "closed" in repr(shelf) and "closed" in shelf._repr_html_() and "close" in dir(shelf)


def test_repr(shelf):
    assert "0 variables" in repr(shelf)
    shelf.x = np.zeros((10, 3))
    shelf.text = "<b>"
    shelf["<script>"] = 1
    shelf.dt = np.zeros(2, [("a", "i4"), ("b", "f8")])
    text = repr(shelf)
    for part in ("'test'", "4 variables", "x", "<f8", "(10, 3)", "240 B", "string", "16.0 MiB"):
        assert part in text
    html = shelf._repr_html_()
    assert "<table>" in html and "<script>" not in html and "&lt;script&gt;" in html
    for i in range(100):
        shelf[f"n{i}"] = i
    assert "and 74 more" in repr(shelf) and "and 74 more" in shelf._repr_html_()


def test_a_full_shelf(shelf):
    shelf.x = np.arange(1000)
    count = 0
    with pytest.raises(pymm.NoSpaceError) as caught:
        while True:
            shelf[f"big{count}"] = np.zeros(1 << 18)
            count += 1
    assert isinstance(caught.value, MemoryError) and count >= 4
    with pytest.raises(MemoryError):
        shelf.x = pymm.ndarray(1 << 22)
    with pytest.raises(MemoryError):
        shelf.x = np.zeros((1 << 12, 1 << 12))[:, ::2]
    assert shelf.x.tolist() == list(range(1000)) and len(shelf) == count + 1
    for i in range(count):
        shelf.erase(f"big{i}")
    shelf.y = np.zeros(1 << 20)


def test_damage_is_an_exception(namespace):
    pymm.shelf("x", pmem_path=namespace, size_mb=4).close()
    with open(os.path.join(namespace, "x.map"), "r+b") as f:
        f.write(b"\xff" * 8192)
    with pytest.raises(pymm.CorruptError):
        pymm.shelf("x", pmem_path=namespace)
    os.unlink(os.path.join(namespace, "x.data"))
    with pytest.raises(pymm.Error):
        pymm.shelf("x", pmem_path=namespace)


def test_subclasses(namespace):
    class MyShelf(pymm.shelf):
        def total(self):
            return sum(self[name] for name in self)

    s = MyShelf("x", pmem_path=namespace, size_mb=4)
    s.a, s.b = 1, 2
    assert (s.a, s.b) == (1, 2) and s.total() == 3 and type(s) is MyShelf
    with pytest.raises(AttributeError):
        s.total = 1
    s.close()


def test_exceptions_are_one_family():
    for name in pymm.__all__:
        item = getattr(pymm, name)
        if isinstance(item, type) and issubclass(item, BaseException):
            assert issubclass(item, pymm.Error) and issubclass(item, RuntimeError)


def test_import_is_light():
    code = (
        "import sys, numpy; before = set(sys.modules); import pymm; "
        "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert not loaded & {"torch", "pandas", "scipy", "pybind11", "asyncio", "unittest"} and out.stderr == ""


def test_many_threads(shelf):
    import threading

    shelf.x = np.zeros(1000)
    errors = []

    def work(k):
        try:
            for i in range(50):
                shelf[f"t{k}"] = np.full(100, i)
                shelf.x[k * 100 : (k + 1) * 100] += 1
                shelf[f"n{k}"] = i
                assert shelf[f"t{k}"][0] == i and shelf[f"n{k}"] == i
                list(shelf), len(shelf), repr(shelf)
        except Exception as error:  # reported below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors and (shelf.x[:800] == 50).all() and (shelf.x[800:] == 0).all()


def test_a_batch_says_what_it_does_not_do(shelf):
    with pytest.raises(AttributeError, match=r"b\['p'\] = "), shelf.batch() as b:
        b.p = 1
    with pytest.raises(TypeError, match=r"from the shelf, s\['q'\]"), shelf.batch() as b:
        b["q"] += 1
    with pytest.raises(KeyError, match=r"^\"rename 'nope': no such blob") as raised, shelf.batch() as b:
        b.rename("nope", "x")
    assert "Errno" not in str(raised.value)
    assert not shelf.items
