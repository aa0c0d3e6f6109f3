"""Every dtype without objects, every order and shape, there and back."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import pymm
from pymm import _dtype, _pymm

SIMPLE = [
    "?", "i1", "u1", "<i2", ">i2", "<u4", ">u8", "<f2", ">f2", "<f4", ">f8", "<f8", "g", "<c8", ">c16", "G",
    "S1", "S7", "<U1", ">U5", "V3", "<M8[ns]", ">M8[25s]", "<M8[D]", "<m8[us]", "<m8", "<M8", "S0", "U0", "V0",
]  # fmt: skip
STRUCTURED = [
    np.dtype([("a", "<i4"), ("b", ">f8")]),
    np.dtype([("a", "i1"), ("b", "<i8")], align=True),
    np.dtype({"names": ["a", "b"], "formats": ["<i4", "<i2"], "offsets": [8, 2], "itemsize": 32}),
    np.dtype({"names": ["low", "all"], "formats": ["<u2", "<u4"], "offsets": [0, 0]}),
    np.dtype([("m", "<f4", (2, 3)), ("n", [("x", "S3"), ("y", "<M8[us]", (2,))])]),
    np.dtype([(("title", "name"), "<i4"), ("ü", "<f8")]),
    np.dtype([("it's \\ \"quoted\"", "<i4"), ("comma,", "<f8")]),
    np.dtype([("n", np.dtype([("a", "i1"), ("b", "<i8")], align=True), (3,))], align=True),
    np.dtype([("empty", "S0"), ("v", "<i4")]),
    np.dtype([]),
]


def same(a, b):
    """Bit by bit, but for padding, which NumPy's own copies leave out."""
    assert a.dtype == b.dtype and a.shape == b.shape
    if a.dtype.names is not None:
        for name in a.dtype.names:
            same(a[name], b[name])
    else:
        assert a.tobytes() == b.tobytes()


def filled(dtype, shape, order="C"):
    dtype = np.dtype(dtype)
    count = int(np.prod(shape)) * dtype.itemsize
    if dtype.kind == "U":  # code points must be valid
        return np.full(shape, "aé€"[: dtype.itemsize // 4], dtype=dtype, order=order)
    data = np.random.default_rng(7).integers(0, 2 if dtype.kind == "b" else 256, count, np.uint8)
    return np.ndarray(shape, dtype, data.tobytes(), order=order).copy(order="K")


@pytest.mark.parametrize("dtype", [*map(np.dtype, SIMPLE), *STRUCTURED], ids=str)
@pytest.mark.parametrize("order", "CF")
def test_round_trip(shelf, reopen, dtype, order):
    for i, shape in enumerate([(), (0,), (3,), (3, 0, 2), (2, 3, 4), (1, 5)]):
        shelf[f"v{i}"] = filled(dtype, shape, order)
    s = reopen(shelf)
    for i, shape in enumerate([(), (0,), (3,), (3, 0, 2), (2, 3, 4), (1, 5)]):
        original, stored = filled(dtype, shape, order), s[f"v{i}"]
        same(original, stored)
        assert type(stored) is pymm.ndarray.shelved_ndarray
        if original.size and dtype.itemsize:
            assert stored.flags.c_contiguous == original.flags.c_contiguous
            assert stored.flags.f_contiguous == original.flags.f_contiguous
        assert stored.flags.writeable
    s.close()


@pytest.mark.parametrize("dtype", [*map(np.dtype, SIMPLE), *STRUCTURED], ids=str)
def test_recipe(shelf, dtype):
    for order in "CF":
        shelf.x = pymm.ndarray((2, 3), dtype=dtype, order=order)
        expected = np.zeros((2, 3), dtype=dtype, order=order)
        same(shelf.x, expected)
        if dtype.itemsize:
            assert shelf.x.flags.f_contiguous == (order == "F")
    shelf.x = pymm.ndarray((), dtype)
    assert shelf.x.shape == ()


@pytest.mark.parametrize("dtype", [np.dtype(d) for d in SIMPLE if d not in ("S0", "U0", "V0")], ids=str)
def test_scalars(shelf, reopen, dtype):
    # Generic datetimes other than NaT have no text form; long doubles have padding.
    original = np.array("NaT", dtype)[()] if dtype.str == "<M8" else filled(dtype, (1,))[0]
    shelf.x = original
    s = reopen(shelf)
    value = s.x
    assert isinstance(value, type(original))
    if dtype.char not in "gG":
        assert np.asarray(value, dtype).tobytes() == np.asarray(original, dtype).tobytes()
    assert np.asarray(value).dtype == np.asarray(original).dtype
    assert repr(value) == repr(original)
    s.close()


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_array(shelf, data):
    dtype = data.draw(
        st.one_of(
            npst.array_dtypes(npst.scalar_dtypes(), allow_subarrays=True),
            npst.nested_dtypes(),
            npst.scalar_dtypes(),
        )
    )
    if dtype.subdtype is not None:
        dtype = dtype.base
    shape = data.draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    order = data.draw(st.sampled_from("CF"))
    original = np.zeros(shape, dtype, order)
    if dtype.itemsize and original.size and dtype.kind not in "U":
        noise = np.random.default_rng(3).integers(0, 2, original.nbytes, np.uint8)
        original = np.ndarray(shape, dtype, noise.tobytes(), order=order)
    if data.draw(st.booleans()) and original.ndim:
        original = original[tuple(slice(None, None, data.draw(st.sampled_from([1, -1, 2]))) for _ in shape)]
    shelf["any"] = original
    same(shelf["any"], original)
    shelf._forget_all()
    same(shelf["any"], original)


@pytest.mark.parametrize(
    "dtype",
    ["O", [("a", "i4"), ("b", "O")], np.dtype(("O", (2,)))],
    ids=str,
)
def test_objects_are_refused(shelf, dtype):
    shelf.x = 1
    used = shelf.used
    with pytest.raises(TypeError, match="Python objects"):
        shelf.x = np.zeros(3, dtype=dtype)
    with pytest.raises(TypeError, match="Python objects"):
        shelf.x = pymm.ndarray(3, dtype=dtype)
    assert shelf.x == 1 and shelf.used == used


@pytest.mark.skipif(not hasattr(np, "dtypes") or not hasattr(np.dtypes, "StringDType"), reason="NumPy 2 only")
def test_variable_strings_are_refused(shelf):
    with pytest.raises(TypeError):
        shelf.x = np.array(["a", "b"], dtype=np.dtypes.StringDType())


HOSTILE = [
    "", "O", "|O", "|O8", "object", "f8,O", "f8,f8", "<f8,", "(2,)f8", "{}", "[]x", "[('a', '|O')]",
    "[('a', [('b', 'O')])]", "[('a', 'f8', (1000000000,))]", "{'names': ['a'], 'formats': ['O']}",
    "{'names': ['a'], 'formats': ['<f8'], 'offsets': [-1]}", "{'names': ['a'], 'formats': ['<f8'], 'offsets': [9]}",
    "__import__('os')", "[('a', __import__('os'))]", "(" * 300, "[" * 5000, "('<f8', (0,))", "<M8[nonsense]",
    "V99999999999999999999", "<f3", "[('a', '<f8'), ('a', '<f8')]", "[1, 2]", "{'names': 1}", "\0", "V8\n",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: repr(t)[:40])
def test_hostile_dtype_text(text):
    with pytest.raises(pymm.CorruptError):
        _dtype.decode(text, 8)


LITERALS = st.recursive(
    st.sampled_from(["", "a", "<f8", "|O", "|V0", "<U3", "names", "formats", "offsets", "itemsize", "titles", 0, 1, -1, 2**70, None]),
    lambda inner: st.lists(inner, max_size=3)
    | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(st.sampled_from(["names", "formats", "offsets", "itemsize", "titles", "x"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
TEXTS = st.text(alphabet="[](){}'\",<>|=?biufcmMSUVO0123456789 :ab", max_size=60) | LITERALS.map(repr)


@given(TEXTS, st.integers(0, 64))
@example("()", 0)
@settings(max_examples=500, deadline=None)
def test_any_dtype_text(text, itemsize):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dtype = _dtype.decode(text, itemsize)
    except pymm.CorruptError:
        return
    assert not dtype.hasobject and dtype.itemsize == itemsize


def test_hostile_types_from_a_foreign_writer(shelf):
    """The library refuses shapes that reach outside; texts are the binding's business."""
    handle = shelf._state.handle
    handle.put_value("text", b"12345678", 9, "|O", 8)
    with pytest.raises(pymm.CorruptError):
        shelf.text
    handle.put_array("array", np.zeros(2), "|O", False)
    with pytest.raises(pymm.CorruptError):
        shelf.array
    assert "array" in shelf and len(shelf) == 2
    shelf.erase("array")


def test_many_dimensions(shelf):
    most = 32 if np.lib.NumpyVersion(np.__version__) < "2.0.0" else 64
    original = np.zeros((1,) * most)
    shelf.x = original
    same(shelf.x, original)


def test_padding_and_alignment_survive(shelf, reopen):
    dtype = np.dtype([("a", "i1"), ("b", "<i8")], align=True)
    shelf.x = np.zeros(3, dtype)
    s = reopen(shelf)
    assert s.x.dtype.itemsize == 16 and s.x.dtype.fields["b"][1] == 8
    s.close()


def test_subclasses_are_refused(shelf):
    with pytest.raises(TypeError, match="numpy.asarray"):
        shelf.x = np.ma.masked_array([1, 2], mask=[0, 1])
    assert "x" not in shelf


def test_block_is_no_public_constructor():
    with pytest.raises(TypeError):
        _pymm.Block()
