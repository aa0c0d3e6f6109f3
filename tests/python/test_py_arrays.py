"""What shelved arrays do: plain results, durable operators, views, lifetimes."""

import gc
import operator
import weakref

import numpy as np
import pytest

import pymm
from pymm import _pymm

Shelved = pymm.ndarray.shelved_ndarray


def on_shelf(array):
    return _pymm.block_of(array) is not None


def test_results_are_plain(shelf):
    shelf.x = np.arange(12.0).reshape(3, 4)
    x = shelf.x
    results = [
        x + 1, 1 + x, x - x, x * 2, x / 3, x // 2, x % 2, x**2, -x, abs(x), x > 1, x == x, x @ x.T, divmod(x, 2)[0],
        np.sqrt(x), np.add(x, x), x.sum(axis=0), x.mean(axis=1), x.cumsum(), x.copy(), x.astype("i4"), x.flatten(),
        x[[0, 2]], x[x > 3], x[np.array([True, False, True])], x.take([1, 2]), x.repeat(2), x.clip(1, 2), x.round(),
        np.dot(x, x.T), np.concatenate([x, x]), np.stack([x, x]), np.empty_like(x), np.zeros_like(x), np.copy(x),
        np.where(x > 1, x, x), np.sort(x), np.linalg.inv(x[:3, :3] + np.eye(3)), np.array(x), np.asarray(x),
        np.split(x + 0, 3)[0], np.meshgrid(x[0], x[1])[0], np.unique(x), np.tile(x, 2), x.argsort(), np.roll(x, 1),
    ]  # fmt: skip
    for i, result in enumerate(results):
        assert type(result) is np.ndarray, i
    for scalar in (x.sum(), x[1, 2], x.max(), np.dot(x[0], x[0]), x.mean(), np.add.reduce(x, axis=None)):
        assert isinstance(scalar, np.float64)
    shelf.zero = np.array(5)
    assert isinstance(shelf.zero + 1, np.integer) and isinstance(np.negative(shelf.zero), np.integer)


def test_copies_own_their_memory(shelf):
    shelf.x = np.arange(12.0).reshape(3, 4)
    for copy in (shelf.x.copy(), shelf.x[[0, 1]], shelf.x.flatten(), shelf.x + 1, shelf.x[shelf.x > 2]):
        copy += 1
        assert copy.flags.writeable
    assert shelf.x.tolist() == np.arange(12.0).reshape(3, 4).tolist()


def test_views_stay_on_the_shelf(shelf):
    shelf.x = np.arange(12.0).reshape(3, 4)
    x = shelf.x
    for view in (x[1], x[1:], x[:, ::2], x.T, x.reshape(4, 3), x.ravel(), x[..., 0], x[1][1:], x.view("i8"), x[None]):
        assert type(view) is Shelved and on_shelf(view)
    assert type(x.asndarray()) is np.ndarray and np.shares_memory(x.asndarray(), x)
    assert type(np.asarray(x)) is np.ndarray and np.shares_memory(np.asarray(x), x)
    assert x.name == x[1].name == "x"
    assert not on_shelf(x + 1)


OPERATORS = ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "ilshift", "irshift", "iand", "ior", "ixor"]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("index", [(), 1, slice(1, 3), (slice(None), 3), (slice(None, None, -2), slice(1, None, 2)), ...])
def test_in_place_operators(shelf, reopen, name, index):
    dtype = float if name == "itruediv" else np.int64
    start = np.arange(1, 21).reshape(4, 5).astype(dtype)
    expected, function = start.copy(), getattr(operator, name)
    expected[index] = function(expected[index], 2)
    shelf.x = start
    x = shelf.x
    part = x[index]
    result = function(part, 2)
    assert result is part and type(result) is Shelved
    assert (shelf.x == expected).all() and shelf.x is x
    s = reopen(shelf)
    assert (s.x == expected).all()
    s.close()


def test_in_place_through_the_shelf(shelf):
    shelf.x = np.arange(6).reshape(2, 3)
    x = shelf.x
    shelf.x += 1
    shelf.x[1] += 9
    shelf.x[:, 2] *= 2
    shelf.x[0, 0] += 100
    shelf.x[[0, 1], [1, 1]] += 1000
    shelf["x"] -= 1
    assert shelf.x is x and shelf.x.tolist() == [[100, 1001, 5], [12, 1013, 29]]
    if np.lib.NumpyVersion(np.__version__) >= "1.25.0":  # NumPy's own @= came then
        shelf.x @= np.eye(3, dtype=int)
        assert shelf.x.tolist() == [[100, 1001, 5], [12, 1013, 29]]
    np.add(x, 1, out=x)
    np.multiply(x[0], 2, out=x[0])
    assert shelf.x.tolist() == [[202, 2004, 12], [13, 1014, 30]]
    x.sort(axis=1)
    x.put([0], [-1])
    assert shelf.x.tolist() == [[-1, 202, 2004], [13, 30, 1014]]
    assert x.byteswap(inplace=True) is x and type(x.byteswap()) is np.ndarray


def test_in_place_errors_leave_no_trace_of_us(shelf):
    shelf.x = np.arange(3)
    with pytest.raises(TypeError):
        shelf.x += "text"
    with pytest.raises(TypeError):
        shelf.x += 1.5
    with pytest.raises(ValueError):
        shelf.x += np.zeros(4, int)
    assert shelf.x.tolist() == [0, 1, 2]


def test_assigning_itself_does_not_copy(shelf):
    shelf.x = np.arange(1000.0)
    x = shelf.x
    sequence = shelf._state.handle.stat()["sequence"]
    shelf.x = shelf.x
    shelf["x"] = shelf["x"]
    shelf.x += 1
    assert shelf._state.handle.stat()["sequence"] == sequence and shelf.x is x
    shelf.x = shelf.x[::2]
    assert shelf.x.shape == (500,) and shelf.x[1] == 3
    shelf.y = shelf.x
    shelf.y += 1
    assert shelf.x[0] == 1 and shelf.y[0] == 2
    shelf.y = shelf.y.reshape(50, 10)
    assert shelf.y.shape == (50, 10)
    shelf.y = shelf.y.T
    assert shelf.y.shape == (10, 50) and shelf.y.flags.f_contiguous
    shelf.x = x  # the old version
    assert shelf.x.shape == (1000,) and shelf.x is not x


def test_the_variable_s_own_shape_is_fixed(shelf):
    shelf.x = np.arange(6)
    for name, value in (("shape", (2, 3)), ("dtype", "i4"), ("strides", (0,))):
        with pytest.raises(AttributeError, match=name):
            setattr(shelf.x, name, value)
    view = shelf.x.view()
    view.shape = (2, 3)
    view += 1
    assert shelf.x.tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError):
        shelf.x.resize(100)


def test_persist_offset_counts_elements(shelf):
    shelf.x = np.zeros((10, 10))
    shelf.x.persist_offset(0, 100)
    shelf.x.persist_offset(100, 0)
    shelf.x[2].persist_offset(3, 7)
    shelf.x[:, 2].persist()
    for bad in ((0, 101), (100, 1), (-1, 1), (0, -1)):
        with pytest.raises(IndexError):
            shelf.x.persist_offset(*bad)
    with pytest.raises(ValueError):
        shelf.x[:, 2].persist_offset(0, 1)


def test_field_access(shelf, reopen):
    shelf.x = np.zeros(3, [("a", "i4"), ("b", "f8")])
    shelf.x["a"] += 5
    shelf.x[1]["b"] = 2.5
    shelf.x[["a", "b"]]["a"] -= 1
    s = reopen(shelf)
    assert s.x["a"].tolist() == [4, 4, 4] and s.x["b"].tolist() == [0, 2.5, 0]
    s.close()


def test_strange_strides_persist(shelf):
    shelf.x = np.zeros((64, 64, 64), np.int16)
    x = shelf.x
    for view in (
        x[::-1], x[:, ::-3, 5], x.T[3::7], x[..., None], np.broadcast_to(x[0], (2, 64, 64), subok=True), x[0:0],
        x[1, 2, 3:3], x.transpose(1, 0, 2)[::9, 4], x.reshape(-1)[::4097],
        np.lib.stride_tricks.as_strided(x, (3,), (128,), subok=True),
    ):  # fmt: skip
        view.persist()
    x[:, 1:, ::2] += 1
    assert x.sum() == 64 * 63 * 32


def test_recipe_is_checked():
    for arguments in (
        {"shape": -1}, {"shape": (1, -1)}, {"shape": 3, "order": "X"}, {"shape": 3, "strides": (1,)},
        {"shape": 3, "buffer": b"abc"}, {"shape": 3, "offset": 1},
    ):  # fmt: skip
        with pytest.raises(ValueError):
            pymm.ndarray(**arguments)
    with pytest.raises(TypeError):
        pymm.ndarray("abc")
    assert pymm.ndarray(3).dtype == float and pymm.ndarray([2, np.int64(3)], "i4").shape == (2, 3)
    assert pymm.ndarray((2, 2), "f8", strides=(16, 8)).order == "C"
    assert "(2, 2)" in repr(pymm.ndarray((2, 2)))


def test_an_impossible_recipe(shelf):
    for shape in ((1 << 62, 1 << 62), (1 << 40,), 1 << 64):
        with pytest.raises((ValueError, OverflowError, MemoryError, TypeError)):
            shelf.x = pymm.ndarray(shape)
    assert "x" not in shelf


# --- lifetimes ----------------------------------------------------------------------------------


def test_a_view_outlives_its_variable(shelf):
    shelf.x = np.arange(100_000)
    old = shelf.x[10:20]
    shelf.x = np.zeros(100_000, int)
    assert old.tolist() == list(range(10, 20))
    shelf.x += 7
    old += 1
    assert old[0] == 11 and (shelf.x == 7).all()
    shelf.erase("x")
    gc.collect()
    # Whatever takes the space now must not be the view's.
    for i in range(30):
        shelf[f"y{i}"] = np.full(10_000, i)
        old += 1
    for i in range(30):
        assert (shelf[f"y{i}"] == i).all()
    assert old.tolist() == list(range(41, 51))


def test_space_is_reused_after_the_last_view(shelf):
    size = 1 << 20  # 8 MiB of 16
    shelf.x = np.zeros(size)
    view = shelf.x[5:]
    shelf.erase("x")
    with pytest.raises(pymm.NoSpaceError):
        shelf.y = np.zeros(size)
    del view
    gc.collect()
    shelf.y = np.ones(size)
    for i in range(5):  # a replaced variable's space is free again
        shelf.z = np.zeros(size // 4)
        shelf.z += i


def test_a_view_outlives_its_shelf(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.x = np.arange(100_000)
    s.t = "text"
    view, text = s.x[::3], s.t
    s.close()
    assert view.sum() == np.arange(0, 100_000, 3).sum() and text == "text"
    view += 1
    view.persist()
    gone = weakref.ref(s)
    del s
    gc.collect()
    assert gone() is None
    view += 1
    assert view[1] == 5
    del view
    gc.collect()
    with pymm.shelf("x", pmem_path=namespace) as s:
        assert s.x[:4].tolist() == [2, 1, 2, 5]


def test_a_shelf_is_collected_without_close(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.x = np.arange(10)
    s.x[0] = 5  # not persisted
    s.x
    gone = weakref.ref(s)
    del s
    gc.collect()
    assert gone() is None
    with pymm.shelf("x", pmem_path=namespace) as s:
        assert s.x[0] == 5


def test_a_buffer_keeps_the_memory(shelf):
    shelf.x = np.arange(1000)
    buffer = memoryview(shelf.x)
    shelf.erase("x")
    gc.collect()
    shelf.y = np.zeros(1000, int)
    assert buffer[999] == 999


def test_random_life(namespace):
    """Against plain arrays: nothing that is held changes, whatever happens around it."""
    rng = np.random.default_rng(5)
    s = pymm.shelf("life", pmem_path=namespace, size_mb=16)
    model, held = {}, []
    for step in range(600):
        name = f"v{rng.integers(8)}"
        action = rng.integers(8)
        if action < 3:
            value = rng.integers(0, 100, int(rng.integers(1, 20_000)))
            s[name] = value
            model[name] = value.copy()
        elif action == 3 and name in model:
            s[name] += step
            model[name] += step
        elif action == 4 and name in model:
            view = s[name][:: int(rng.integers(1, 4))]
            held.append((name, s[name], view, model[name]))
        elif action == 5 and name in model:
            del s[name]
            del model[name]
        elif action == 6 and held:
            held.pop(int(rng.integers(len(held))))
        elif action == 7 and rng.integers(10) == 0:
            s.close()
            s = pymm.shelf("life", pmem_path=namespace)
        if held and step % 3 == 0:
            name, array, view, expected = held[int(rng.integers(len(held)))]
            array += 1
            expected += 1
        for _, array, _, expected in held:
            assert (array == expected).all(), step
        assert sorted(model) == s.items
        for key, expected in model.items():
            assert (s[key] == expected).all(), (step, key)
    s.close()
