"""Objects of other packages whose parts are damaged or forged: the right value or an error, whatever they are."""

import os

import numpy as np
import pytest
from forged import Bytes, sealed, with_other_words
from hypothesis import given
from hypothesis import strategies as st
from test_py_containers import SLOW, bytes_of

import pymm
from pymm import _containers, _nest, _objects

Parts = _objects.Parts


def stored(shelf, parts):
    """A variable of these parts, however wrong."""
    plan = _nest.Plan("x", [parts])
    stage = shelf._state.handle.stage_value(10, plan.size)
    plan.write(stage)
    shelf._state.handle.put_stage("x", stage)
    return shelf._open("x")  # not what is kept of the one before


def test_unknown_ones(shelf):
    for name in ("pandas.Nothing", "scipy.sparse.lil_matrix", "os.system", "", "pandas", "x" * 5000):
        if name.startswith(("pandas", "scipy")):
            pytest.importorskip(name.partition(".")[0], reason=f"{name} needs a package that is not installed")
        found = stored(shelf, Parts(name, {}))
        with pytest.raises(pymm.VersionError, match="does not know"):
            found[0]


TEXTS = {"offsets": np.array([0, 1, 3], "<i4"), "data": np.frombuffer(b"abc", "u1"), "dtype": "object"}


def series(data, n=2):
    return Parts("pandas.Series", {"data": data, "index": Parts("pandas.RangeIndex", {"start": 0, "stop": n, "step": 1, "name": None}), "name": None})  # fmt: skip


def changed(parts, **changes):
    return {key: value for key, value in {**parts, **changes}.items() if value is not None}


HOSTILE_TEXTS = [
    changed(TEXTS, **change)
    for change in (
        {"offsets": np.array([0, 5, 3], "<i4")}, {"offsets": np.array([0, 1, 2**30], "<i4")},
        {"offsets": np.array([-1, 1, 3], "<i4")}, {"offsets": np.array([0, -1, 3], "<i4")}, {"offsets": np.array([], "<i4")},
        {"offsets": np.array([0.0, 1, 3])}, {"offsets": np.array([0, 1, 3], "<u8")}, {"offsets": np.array([[0, 1, 3]], "<i4")},
        {"offsets": np.array([0, 1, 3, 3], "<i4")}, {"offsets": None}, {"data": None}, {"dtype": None}, {"data": "abc"},
        {"data": np.frombuffer(b"a\xff\xff", "u1")}, {"data": np.zeros((3, 1), "u1")}, {"data": np.zeros(3, "i2")},
        {"missing": np.zeros(5, "u1")}, {"missing": np.full(2, 9, "u1")}, {"missing": np.zeros(2, bool)}, {"dtype": 5},
        {"offsets": [0, 1, 3]},
    )
]  # fmt: skip


def test_forged_texts(shelf):
    pytest.importorskip("pandas", reason="pandas is not installed")
    assert stored(shelf, series(Parts("pandas.strings", TEXTS)))[0].tolist() == ["a", "bc"]
    for dtype in ("object", "NA", "nan"):
        for parts in HOSTILE_TEXTS:
            if parts.get("dtype") == "object":
                parts = {**parts, "dtype": dtype, "storage": "python"}
            with pytest.raises(pymm.CorruptError):
                stored(shelf, series(Parts("pandas.strings", parts)))[0]


def test_forged_tables(shelf, tmp_path):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    fifo = str(tmp_path / "fifo")  # whoever opens it waits for ever
    os.mkfifo(fifo)
    good = series(np.arange(2))
    assert stored(shelf, good)[0].tolist() == [0, 1]
    index = good.parts["index"]
    codes = {"categories": Parts("pandas.Index", {"data": np.arange(2), "name": None}), "ordered": False}
    for data in (
        np.arange(3), np.zeros((2, 2)), np.array(5), "text", None, [1, 2], Parts("pandas.Series", good.parts), index,
        Parts("pandas.categorical", {**codes, "codes": np.array([0, 2], "i1")}),
        Parts("pandas.categorical", {**codes, "codes": np.array([0, -2], "i1")}),
        Parts("pandas.categorical", {**codes, "codes": np.array([0, 1.5])}),
        Parts("pandas.categorical", {**codes, "codes": np.array([0, 1], "i1"), "categories": np.arange(2)}),
        Parts("pandas.masked", {"data": np.arange(2), "mask": np.zeros(3, bool), "dtype": "Int64"}),
        Parts("pandas.masked", {"data": np.arange(2), "mask": np.zeros(2, "u1"), "dtype": "Int64"}),
        Parts("pandas.masked", {"data": np.arange(2), "mask": np.zeros(2, bool), "dtype": "Int8"}),
        Parts("pandas.masked", {"data": np.arange(2.0), "mask": np.zeros(2, bool), "dtype": "Int64"}),
        Parts("pandas.masked", {"data": np.arange(2), "mask": np.zeros(2, bool), "dtype": "object"}),
        Parts("pandas.datetimetz", {"data": np.arange(2), "zone": "UTC"}),
        Parts("pandas.datetimetz", {"data": np.zeros(2, "M8[ns]"), "zone": "../../etc/passwd"}),
        Parts("pandas.datetimetz", {"data": np.zeros(2, "M8[ns]"), "zone": None}),
        Parts("pandas.datetimetz", {"data": np.zeros(2, "M8[ns]"), "zone": "dateutil/" + fifo}),
        Parts("pandas.datetimetz", {"data": np.zeros(2, "M8[ns]"), "zone": "dateutil//dev/stdin"}),
        Parts("pandas.datetimetz", {"data": np.zeros(2, "M8[ns]"), "zone": fifo}),
        Parts("pandas.datetimetz", {"data": np.zeros(2, "M8[ns]"), "zone": "tzlocal()"}),
        Parts("pandas.datetimetz", {"data": np.zeros(2, "M8[2s]"), "zone": "UTC"}),
        Parts("pandas.period", {"data": np.arange(2, dtype="i1"), "freq": "D"}),
        Parts("pandas.period", {"data": np.arange(2), "freq": "nonsense"}),
        Parts("pandas.interval", {"left": np.arange(2), "right": np.arange(3), "closed": "right"}),
        Parts("pandas.interval", {"left": np.arange(2), "right": np.arange(2), "closed": "open"}),
        Parts("scipy.sparse.csr_matrix", {}),
    ):  # fmt: skip
        with pytest.raises(pymm.CorruptError):
            stored(shelf, series(data))[0]
    for start, stop, step in ((0, 3, 1), (0, 2, 0), (0, 2**70, 1), (0, 2.5, 1), (0, True, 1), (0, 2**63, 1)):
        parts = {**index.parts, "start": start, "stop": stop, "step": step}
        with pytest.raises(pymm.CorruptError):
            stored(shelf, Parts("pandas.Series", {**good.parts, "index": Parts("pandas.RangeIndex", parts)}))[0]
    levels = {"levels": [codes["categories"]], "codes": [np.array([0, 1])], "names": [None]}
    multi = {**good.parts, "index": Parts("pandas.MultiIndex", levels)}
    assert len(stored(shelf, Parts("pandas.Series", multi))[0]) == 2
    for change in ({"codes": [np.array([0, 2])]}, {"codes": [np.array([0, -2])]}, {"codes": []}, {"levels": []}, {"names": []},
                   {"codes": [np.array([0.0, 1])]}, {"levels": [5]}, {"names": [[1]]}):  # fmt: skip
        with pytest.raises(pymm.CorruptError):
            stored(shelf, Parts("pandas.Series", {**multi, "index": Parts("pandas.MultiIndex", {**levels, **change})}))[0]
    frame = {"columns": index, "index": index, "data": np.zeros((2, 2))}
    assert stored(shelf, Parts("pandas.DataFrame", frame))[0].shape == (2, 2)
    for data in (np.zeros((2, 3)), np.zeros(4), [], [np.zeros(2)], [np.zeros(2), np.zeros(3)], [np.zeros(2), "x"], np.zeros((2, 2), "S1")):
        with pytest.raises(pymm.CorruptError):
            stored(shelf, Parts("pandas.DataFrame", {**frame, "data": data}))[0]
    assert pd.__version__


def test_forged_matrices(shelf):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    csr = {"shape": (2, 3), "data": np.ones(3), "indices": np.array([0, 2, 1], "i4"), "indptr": np.array([0, 2, 3], "i4")}
    changes = [
        {"indices": np.array([0, 3, 1])}, {"indices": np.array([0, -1, 1])}, {"indices": np.array([0.0, 2, 1])},
        {"indices": np.array([0, 2])}, {"indptr": np.array([0, 2, 4])}, {"indptr": np.array([0, 2])},
        {"indptr": np.array([0, 3, 2])}, {"indptr": np.array([1, 2, 3])}, {"indptr": np.array([0, 2**40, 3])},
        {"data": np.ones(2)}, {"data": np.ones((3, 1))}, {"shape": (3, 2)}, {"shape": (2**70, 3)}, {"shape": (-2, 3)},
        {"shape": ()}, {"shape": [2, 3]}, {"shape": (2.0, 3)}, {"indices": None},
    ]  # fmt: skip
    for name in ("csr_matrix", "csr_array", "csc_matrix"):
        good = {**csr, "shape": csr["shape"][::-1] if name[:3] == "csc" else csr["shape"]}
        assert stored(shelf, Parts(f"scipy.sparse.{name}", good))[0].nnz == 3
        for change in changes:
            if "shape" in change and name[:3] == "csc" and len(change["shape"]) == 2:
                change = {"shape": type(change["shape"])(reversed(change["shape"]))}
            parts = {key: value for key, value in {**good, **change}.items() if value is not None}
            with pytest.raises(pymm.CorruptError):
                stored(shelf, Parts(f"scipy.sparse.{name}", parts))[0]
    bsr = {"shape": (4, 6), "data": np.ones((3, 2, 2)), "indices": np.array([0, 2, 1], "i4"), "indptr": np.array([0, 2, 3], "i4")}
    assert stored(shelf, Parts("scipy.sparse.bsr_matrix", bsr))[0].nnz == 12
    for change in ({"shape": (4, 5)}, {"shape": (6, 4)}, {"data": np.ones((3, 0, 2))}, {"data": np.ones(3)}, {"shape": (4,)}):
        with pytest.raises(pymm.CorruptError):
            stored(shelf, Parts("scipy.sparse.bsr_matrix", {**bsr, **change}))[0]
    coo = {"shape": (2, 3), "data": np.ones(2), "coords": (np.array([0, 1]), np.array([2, 0]))}
    assert stored(shelf, Parts("scipy.sparse.coo_matrix", coo))[0].nnz == 2
    for change in ({"coords": (np.array([0, 2]), np.array([2, 0]))}, {"coords": (np.array([0, 1]),)}, {"coords": [1, 2]},
                   {"coords": (np.array([0, 1]), np.array([2]))}, {"data": np.ones(3)}, {"shape": (2,)}):  # fmt: skip
        with pytest.raises(pymm.CorruptError):
            stored(shelf, Parts("scipy.sparse.coo_matrix", {**coo, **change}))[0]
    dia = {"shape": (3, 3), "data": np.ones((2, 3)), "offsets": np.array([0, 1])}
    assert stored(shelf, Parts("scipy.sparse.dia_matrix", dia))[0].nnz == 5
    for change in ({"offsets": np.array([0])}, {"offsets": np.array([0, 0])}, {"data": np.ones(3)}, {"offsets": np.array([0.5, 1])}):
        with pytest.raises(pymm.CorruptError):
            stored(shelf, Parts("scipy.sparse.dia_matrix", {**dia, **change}))[0]
    assert sparse


@given(st.data())
@SLOW
def test_forged_bytes_under_right_checksums(shelf, data):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    if "x" not in shelf:
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"]), "d": pd.array([1, None], "Int8")})
        frame.attrs["a"] = 1
        shelf.x = [frame, frame["b"], frame.set_index(["a", "b"]).index]
    forged = bytes_of(shelf, "x")
    try:
        x = _containers.from_block(Bytes(sealed(with_other_words(data, forged))))
        for part in x:
            repr(part)
        repr(x.plain())
    except (pymm.CorruptError, pymm.VersionError):
        pass
