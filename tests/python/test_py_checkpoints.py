"""s.save() and s.load(): versions of nested objects, each saved whole or not at all."""

import datetime
import threading
from collections import OrderedDict

import numpy as np
import pytest

import killed
import pymm


def state(n=0.0):
    """As a model's state is: names, arrays of several types, numbers, nested."""
    return OrderedDict(
        layers=OrderedDict(
            [("conv.weight", np.full((8, 3, 5, 5), n, np.float32)), ("conv.bias", np.full(8, n, np.float64))]
        ),
        optimizer={"lr": 0.1, "betas": (0.9, 0.999), "state": {0: {"step": int(n), "m": np.full((8,), n)}}},
        note=f"epoch {n}",
        nothing=None,
        flags=[True, False],
        raw=b"\0\1",
    )


def same(a, b):
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool((np.asarray(a) == np.asarray(b)).all())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_what_is_saved_is_loaded(twice):
    first = True
    for s in twice():
        if first:
            assert s.save(state(3), "mnist") == 1
            first = False
        loaded = s.load("mnist")
        assert type(loaded) is OrderedDict and type(loaded["optimizer"]["betas"]) is tuple
        assert type(loaded["layers"]["conv.weight"]) is np.ndarray and same(loaded, state(3))
        # It is a plain object, of which the shelf knows nothing.
        loaded["layers"]["conv.bias"][:] = 7
        loaded["new"] = 1
        assert same(s.load("mnist"), state(3))


@pytest.mark.parametrize("obj", [5, None, "text", b"", np.arange(5), [], {}, (), {1: {2.5: [None, True]}}, True, 1 + 2j])
def test_any_object_that_a_shelf_holds(shelf, obj):
    shelf.save(obj, "one")
    for copy in (True, False):
        assert same(shelf.load("one", copy=copy), obj)
    assert type(shelf.load("one")) is type(obj)


def test_without_a_copy(shelf):
    shelf.save(state(3), "mnist")
    view = shelf.load("mnist", copy=False)
    weight = view["layers"]["conv.weight"]
    assert isinstance(weight, pymm.ndarray.shelved_ndarray) and not weight.flags.writeable
    assert same(view.plain(), state(3))
    # A version that somebody looks at is never stored over.
    for n in range(4, 10):
        shelf.save(state(n), "mnist")
    assert same(view.plain(), state(3)) and (weight == 3).all()
    shelf.close()
    assert (weight == 3).all()


def test_versions(shelf):
    with pytest.raises(KeyError):
        shelf.load("mnist")
    assert shelf.checkpoints("mnist") == []
    for n in range(1, 6):
        assert shelf.save(state(n), "mnist", keep=3) == n
    before = datetime.datetime.now() - datetime.timedelta(hours=1)
    listed = shelf.checkpoints("mnist")
    assert [c.version for c in listed] == [3, 4, 5] and all(c.saved > before and c.size > 0 for c in listed)
    assert same(shelf.load("mnist", version=-1), state(5)) and same(shelf.load("mnist", version=-3), state(3))
    assert same(shelf.load("mnist", version=4), state(4))
    for missing in (-4, 0, 2, 6):
        with pytest.raises(KeyError):
            shelf.load("mnist", version=missing)
    # The default keeps one.
    shelf.save(state(6), "mnist")
    assert [c.version for c in shelf.checkpoints("mnist")] == [6]
    del shelf[shelf.checkpoints("mnist")[0].variable]
    assert shelf.checkpoints() == []


def test_names_within_names(shelf):
    shelf.save(1, "a")
    shelf.save(2, "a/b")
    shelf.save(3, "a/b", keep=2)
    shelf.save(4, "a/000000000001")
    assert [shelf.load(name) for name in ("a", "a/b", "a/000000000001")] == [1, 3, 4]
    assert [c.version for c in shelf.checkpoints("a")] == [1]
    assert len(shelf.checkpoints()) == 4
    for bad in ("", "../a", "a/", "/a", 5):
        with pytest.raises((ValueError, TypeError)):
            shelf.save(1, bad)


def test_a_save_that_fails_changes_nothing(shelf):
    shelf.save(state(1), "mnist")
    items = shelf.items
    with pytest.raises(TypeError):
        shelf.save({"a": np.zeros(1000), "b": object()}, "mnist")
    with pytest.raises(pymm.NoSpaceError):
        shelf.save([np.zeros(1 << 21)], "mnist")
    with pytest.raises(ValueError):
        shelf.save(1, "mnist", keep=0)
    assert shelf.items == items and same(shelf.load("mnist"), state(1))


def test_what_is_no_checkpoint(shelf):
    shelf["checkpoints/x/000000000001"] = np.zeros(5)
    with pytest.raises(pymm.CorruptError):
        shelf.load("x")


def test_saving_over_and_over_takes_the_space_of_two(shelf):
    big = {f"layer{i}": np.full(1 << 17, i, np.float64) for i in range(5)}  # 5 of 16 MiB
    for n in range(20):
        big["layer0"][:] = n
        shelf.save(big, "model")
    assert same(shelf.load("model"), big) and len(shelf.items) == 1


def test_read_only(shelf, reopen):
    shelf.save(state(1), "mnist")
    s = reopen(shelf, mode="r")
    assert same(s.load("mnist"), state(1)) and same(s.load("mnist", copy=False).plain(), state(1))
    with pytest.raises(pymm.ReadOnlyError):
        s.save(state(2), "mnist")
    s.close()


def test_in_the_background(shelf):
    model = state(1)
    future = shelf.save_async(model, "mnist", keep=10)
    # What is saved is what it was when it was asked for.
    model["layers"]["conv.bias"][:] = 99
    model["flags"].append(5)
    assert future.result(timeout=60) == 1 and same(shelf.load("mnist"), state(1))
    futures = [shelf.save_async(state(n), "mnist", keep=10) for n in range(2, 9)]
    assert [f.result(timeout=60) for f in futures] == list(range(2, 9))
    failing = shelf.save_async([np.zeros(1 << 21)], "mnist")
    with pytest.raises(pymm.NoSpaceError):
        failing.result(timeout=60)
    with pytest.raises(TypeError):
        shelf.save_async([object()], "mnist")
    last = shelf.save_async(state(9), "mnist")
    shelf.close()
    assert last.done() and last.result() == 9


def test_from_threads(shelf):
    def work(n):
        for i in range(10):
            shelf.save([n, i], "shared", keep=100)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [tuple(shelf.load("shared", version=c.version)) for c in shelf.checkpoints("shared")]
    assert sorted(found) == [(n, i) for n in range(4) for i in range(10)]


PROGRAM = """
import sys
import numpy as np, pymm
s = pymm.shelf('test', pmem_path=sys.argv[1])
for n in range(1, 1000000):
    s.save({'n': n, 'a': np.full(20_000, n), 'b': [np.full(10, n, 'u2'), str(n)]}, 'model', keep=2)
    print(n, flush=True)
"""


@pytest.mark.parametrize("after", [1, 3, 20, 60])
def test_killed_while_saving(shelf, namespace, after):
    """The last acknowledged one, or the next; whole, with no space lost."""
    shelf.close()
    acknowledged = killed.acknowledged(PROGRAM, namespace, after)
    with pymm.shelf("test", pmem_path=namespace) as s:
        kept = [c.version for c in s.checkpoints("model")]
        assert kept[-1] in (acknowledged, acknowledged + 1) and len(kept) == min(2, kept[-1])
        for version in kept:
            found = s.load("model", version=version)
            assert found["n"] == version and (found["a"] == version).all()
            assert (found["b"][0] == version).all() and found["b"][1] == str(version)
    assert pymm.fsck(namespace, "test", scrub=True).clean
