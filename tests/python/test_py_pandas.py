"""Tables of pandas on a shelf, against plain ones."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import killed
import pymm

pd = pytest.importorskip("pandas", reason="pandas is not installed")
from hypothesis.extra import pandas as hp  # noqa: E402
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal  # noqa: E402

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
NEWER = int(pd.__version__.split(".")[0]) >= 2

TEXTS = ["x", None, "é", "", "雪" * 50, "lone \ud800", "null \0"]


def objects(*values):
    array = np.empty(len(values), object)
    for i, value in enumerate(values):
        array[i] = value
    return array


def columns():
    """One of each kind, of seven rows."""
    n = 7
    times = pd.date_range("2020-03-28", periods=n, freq="D")
    frame = {
        "float": np.arange(n) / 2, "int8": np.arange(n, dtype="i1"), "uint64": np.arange(n, dtype="u8") + 2**63,
        "bool": np.arange(n) % 2 == 0, "complex": np.arange(n) * 1j, "half": np.arange(n, dtype="f2"),
        "time": times.to_numpy(), "delta": times.to_numpy() - times.to_numpy()[0], "not a time": np.full(n, "NaT", "M8[ns]"),
        "paris": times.tz_localize("Europe/Paris"), "utc": times.tz_localize("UTC"), "fixed": times.tz_localize("UTC+05:30"),
        "string": pd.array(["x", None, "é", "", "y", "null \0", "z" * 99], "string"),
        "Int64": pd.array([1, None, 3, 2**62, 5, -6, 7], "Int64"), "UInt8": pd.array([1, None, 3, 4, 5, 6, 7], "UInt8"),
        "boolean": pd.array([True, None, False] * 2 + [None], "boolean"),
        "Float32": pd.array([1.5, None, float("inf"), 0, 1, 2, 3], "Float32"),
        "category": pd.Categorical(list("xyxzxy") + [None], ordered=True),
        "numbers": pd.Categorical([1, 2, 1, 2, 3, 3, None], [3, 2, 1]),
        "period": pd.period_range("2020", periods=n, freq="M"), "interval": pd.interval_range(0, n),
        "cut": pd.cut(np.arange(n), 3),
    }  # fmt: skip
    frame = {name: pd.Series(column) for name, column in frame.items()}
    frame["object"] = pd.Series(objects(*TEXTS), dtype=object)
    frame["missing"] = pd.Series(objects("a", None, float("nan"), pd.NA, "b", None, None), dtype=object)
    frame["nothing"] = pd.Series(objects(*[None] * n), dtype=object)
    frame["str"] = pd.Series(["a", None, "b", "", "ä", None, "c"])
    return frame


def test_every_kind_of_column(twice):
    frame = pd.DataFrame(columns())
    first = True
    for s in twice():
        if first:
            s.df, s.empty = frame, frame.iloc[:0]
            for name in frame:
                s["column/" + name] = frame[name]
            first = False
        assert type(s.df) is pd.DataFrame
        assert_frame_equal(s.df, frame, check_flags=True)
        assert_frame_equal(s.empty, frame.iloc[:0])
        for name in frame:
            assert_series_equal(s["column/" + name], frame[name])
        kinds = [list(map(type, f[name])) for f in (s.df, frame) for name in ("object", "missing", "nothing")]
        assert kinds[:3] == kinds[3:]


INDEXES = [
    pd.RangeIndex(5), pd.RangeIndex(10, 0, -2, name="down"), pd.Index([5, 3, 3, 1, 0], name=("a", 1)),
    pd.Index([0.5, float("nan"), 1, 2, 3]), pd.Index(list("abcde"), name="text"), pd.Index(list("abcde"), dtype=object),
    pd.Index(objects("a", 1, None, ("b", 2), 2.5)), pd.Index([True, False, True, False, True], dtype=bool),
    pd.date_range("2020", periods=5, freq="D"), pd.date_range("2020", periods=5, freq="2h", tz="Europe/Paris", name=0),
    pd.DatetimeIndex(["2020", "2019", "NaT", "2020", "2021"]), pd.timedelta_range(0, periods=5, freq="s"),
    pd.period_range("2020", periods=5, freq="Q"), pd.interval_range(0, 5), pd.CategoricalIndex(list("abcab"), name="c"),
    pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1), (None, 2), ("b", 3)], names=["x", None]),
    pd.MultiIndex.from_product([pd.date_range("2020", periods=5, tz="UTC"), [0]]), pd.Index([1, 2, 3, 4, None], dtype="Int64"),
]  # fmt: skip


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: f"{type(index).__name__} {index.dtype}")
def test_every_kind_of_index(shelf, index):
    frame = pd.DataFrame({"a": np.arange(5), "b": list("abcde")}, index)
    shelf.df, shelf.index, shelf.series, shelf.wide = frame, index, frame["b"], pd.DataFrame([range(5)], columns=index)
    assert_frame_equal(shelf.df, frame, check_freq=True)
    assert_index_equal(shelf.index, index, exact=True)
    assert_series_equal(shelf.series, frame["b"])
    assert_frame_equal(shelf.wide, pd.DataFrame([range(5)], columns=index))
    assert getattr(shelf.index, "freq", None) == getattr(index, "freq", None)


def test_edges(shelf):
    for frame in (
        pd.DataFrame(), pd.DataFrame(index=range(3)), pd.DataFrame(columns=["a", "b"]), pd.DataFrame({"a": []}),
        pd.DataFrame([[1, 2.5]], columns=["same", "same"]), pd.DataFrame(np.arange(6).reshape(2, 3)),
        pd.DataFrame(np.arange(6).reshape(2, 3), columns=[("a", 1), "b", None]), pd.DataFrame(np.zeros((0, 3))),
        pd.DataFrame(np.arange(12).reshape(3, 4)).iloc[:, ::2], pd.DataFrame(np.arange(12).reshape(3, 4)).iloc[::-1],
        pd.DataFrame({"a": [1, 2]}, dtype=">i2"),
    ):  # fmt: skip
        shelf.df = frame
        assert_frame_equal(shelf.df, frame)
    for series in (pd.Series(dtype=float), pd.Series([], dtype=object), pd.Series([1], name="x"), pd.Series([2], name=(1, "a"))):
        shelf.series = series
        assert_series_equal(shelf.series, series)
    frame = pd.DataFrame({"a": [1]})
    frame.attrs.update(unit="m", origin={"x": [1, 2.5]})
    frame.flags.allows_duplicate_labels = False
    shelf.df = frame
    assert shelf.df.attrs == frame.attrs and not shelf.df.flags.allows_duplicate_labels


DTYPES = ["bool", "int8", "uint16", "int64", "float32", "float64", "complex128", "datetime64[ns]", "timedelta64[ns]"]
INDEX = st.one_of(
    hp.range_indexes(max_size=8), hp.indexes(dtype="int64", max_size=8), hp.indexes(elements=st.text(max_size=5), dtype=object, max_size=8)
)
FRAMES = st.lists(
    st.one_of(
        st.builds(lambda name, dtype: hp.column(name, dtype=dtype), st.text(max_size=3), st.sampled_from(DTYPES)),
        st.builds(
            lambda name: hp.column(name, elements=st.one_of(st.none(), st.text(max_size=9)), dtype=object), st.text(max_size=3)
        ),
    ),
    max_size=5,
    unique_by=lambda column: column.name,
).flatmap(lambda columns: hp.data_frames(columns, index=INDEX))


@given(FRAMES)
@SLOW
def test_any_frame_comes_back(shelf, frame):
    shelf.df = frame
    assert_frame_equal(shelf.df, frame)
    shelf.again = {"a": [shelf.df]}
    assert_frame_equal(shelf.again["a"][0], frame)


@given(st.lists(st.one_of(st.text(), st.none(), st.just(float("nan")), st.just(pd.NA)), max_size=20))
@SLOW
def test_any_texts_come_back(shelf, values):
    for dtype in (object, "string"):
        series = pd.Series(objects(*values), dtype=dtype)
        shelf.x = series
        assert_series_equal(shelf.x, series)
        assert list(map(type, shelf.x)) == list(map(type, series))


def addresses(values):
    return values.__array_interface__["data"][0]


def test_what_is_a_view(shelf):
    n = 1000
    frame = pd.DataFrame({
        "f": np.arange(n) / 2, "i": np.arange(n), "t": pd.date_range("2020", periods=n), "c": pd.Categorical(["a", "b"] * (n // 2)),
        "m": pd.array([1, None] * (n // 2), "Int64"), "z": pd.date_range("2020", periods=n, tz="Europe/Paris"),
    })  # fmt: skip
    shelf.df, shelf.whole, shelf.index = frame, pd.DataFrame(np.random.rand(n, 5)), pd.DataFrame({"a": 1.5}, np.arange(n) * 2)
    block = shelf._state.handle.get("df")
    for get in (
        lambda df: df["f"].to_numpy(), lambda df: df["i"].to_numpy(), lambda df: df["t"].to_numpy(),
        lambda df: df["c"].array.codes, lambda df: df["m"].array._data, lambda df: df["m"].array._mask,
        lambda df: df["z"].array.asi8,
    ):  # fmt: skip
        assert block.address <= addresses(get(shelf.df)) < block.address + block.size
        assert not get(shelf.df).flags.writeable
    whole = shelf._state.handle.get("whole")
    assert whole.address <= addresses(shelf.whole.to_numpy()) < whole.address + whole.size
    index = shelf._state.handle.get("index")
    assert index.address <= addresses(shelf.index.index.to_numpy()) < index.address + index.size


def test_texts_in_arrow_are_views(shelf):
    pytest.importorskip("pyarrow", reason="PyArrow is not installed")
    series = pd.Series(["a", None, "é"] * 1000, dtype="string[pyarrow]")
    shelf.x = series
    assert_series_equal(shelf.x, series)
    block = shelf._state.handle.get("x")
    for _, _, data in (chunk.buffers() for chunk in shelf.x.array.__arrow_array__().chunks):
        assert block.address <= data.address < block.address + block.size
    assert_series_equal(shelf.x.iloc[5:9], series.iloc[5:9])


def test_a_change_stays_in_memory(shelf):
    shelf.df = pd.DataFrame({"a": np.arange(5.0), "b": np.arange(5)})
    shelf.series = shelf.df["a"]
    df, series = shelf.df, shelf.series
    df["new"] = 1
    assert list(shelf.df) == ["a", "b"]
    try:
        df.iloc[0, 0] = 99
        series.iloc[0] = 99
    except ValueError as error:  # before pandas 3
        assert "read-only" in str(error) and not pd.__version__.startswith("3")
    else:
        assert df.iloc[0, 0] == 99 and series.iloc[0] == 99
    assert shelf.df.iloc[0, 0] == 0 and shelf.series.iloc[0] == 0
    plain = shelf.df.copy()
    plain.iloc[1, 0] = 7
    shelf.df = plain
    assert shelf.df.iloc[1, 0] == 7 and df.iloc[1, 0] == 1
    shelf.df = shelf.df
    assert shelf.df.iloc[1, 0] == 7


def test_tables_outlive_variable_and_shelf(shelf):
    shelf.df = frame = pd.DataFrame({"a": np.arange(10_000), "b": np.arange(10_000) / 2})
    df = shelf.df
    a = df["a"]
    del shelf.df
    for i in range(10):
        shelf.other = np.full(10_000, i)
    shelf.close()
    assert_frame_equal(df, frame)
    del df
    assert a.sum() == frame["a"].sum()


def test_in_containers_and_checkpoints(shelf, reopen):
    frame = pd.DataFrame({"a": np.arange(3), "b": list("xyz")})
    value = {"frame": frame, "list": [frame["a"], frame.index, 5]}
    shelf.x = value
    shelf.save(value, "c")
    kept = shelf.save_async(value, "later")
    frame.loc[0, "a"] = 50
    kept.result(timeout=60)
    frame.loc[0, "a"] = 0
    s = reopen(shelf)
    for found in (s.x, s.x.plain(), s.load("c"), s.load("c", copy=False), s.load("later")):
        assert_frame_equal(found["frame"], frame)
        assert_series_equal(found["list"][0], frame["a"])
        assert found["list"][1].equals(frame.index) and found["list"][2] == 5
    plain = s.load("c")["frame"]
    plain.loc[0, "a"] = 7
    assert plain["a"].to_numpy().base is None or plain["a"].tolist() == [7, 1, 2]
    s.copy("x", "y")
    s.rename("y", "z")
    s.seal("z")
    assert_frame_equal(s.z["frame"], frame)
    assert pymm.fsck(s._state.path, "test", scrub=True).clean
    s.close()


class Table(pd.DataFrame):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pd.DataFrame({"a": [1], "q": [object()]}), "x: column 'q': an object of type object"),
        (pd.DataFrame({"q": ["a", 1]}), "x: column 'q': an object of type int"),
        (pd.DataFrame({"q": objects("a", 1.5)}), "x: column 'q': a float among"),
        ([1, {"a": pd.DataFrame({"q": [b"a"]})}], r"x\[1\]\['a'\]: column 'q': an object of type bytes"),
        (pd.Series([[1]], name="s"), "x: series 's': an object of type list"),
        (pd.DataFrame({"s": pd.arrays.SparseArray([0, 1])}), "x: column 's': sparse"),
        (pd.DataFrame({"t": pd.date_range("2020", periods=2, tz="dateutil/Europe/Paris")}), "x: column 't': its time zone"),
        (pd.DataFrame({"a": [1]}, pd.Index([pd.Timestamp("2020")], dtype=object)), r"labels.*Timestamp"),
        (Table({"a": [1]}), "subclass of pandas.DataFrame; convert it: pandas.DataFrame"),
        (pd.Timestamp("2020"), "to_numpy"),
        (pd.array([1, None]), "pandas.Series"),
        ({pd.Timestamp("2020"): 1}, "not supported as a key"),
        (pd.date_range("2020", periods=3, freq=pd.offsets.CustomBusinessDay(holidays=["2020-01-02"])), "frequency"),
    ],
)
def test_what_is_refused(shelf, value, message):
    sequence = shelf._state.handle.stat()["sequence"]
    with pytest.raises(TypeError, match=message):
        shelf.x = value
    assert "x" not in shelf and shelf._state.handle.stat()["sequence"] == sequence


def test_attributes_that_are_refused(shelf):
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["set"] = {1}
    with pytest.raises(TypeError, match="attrs.*set"):
        shelf.x = frame
    frame.attrs["set"] = [frame["a"]]
    with pytest.raises(TypeError, match="attrs"):
        shelf.x = frame


def test_erasing_and_what_it_is(shelf):
    shelf.df = pd.DataFrame({"a": [1]})
    with pytest.raises(TypeError, match="give a name"):
        shelf.erase(shelf.df)
    assert "pandas.DataFrame" in shelf.supported_types()
    shelf.erase("df")
    with pytest.raises(AttributeError):
        shelf.df


def test_without_pandas_the_rest_can_be_read(shelf, namespace):
    shelf.x = [1, pd.DataFrame({"a": [1]}), "text"]
    shelf.df = pd.DataFrame({"a": [1]})
    shelf.close()
    program = f"""
import sys
sys.modules["pandas"] = None
import pymm
s = pymm.shelf('test', pmem_path={namespace!r})
assert s.x[0] == 1 and s.x[2] == 'text' and len(s.x) == 3 and "df" in s
repr(s), s.inspect(), s.items
for get in (lambda: s.x[1], lambda: s.df, lambda: s["df"], lambda: s.x.plain()):
    try:
        get()
    except ImportError as error:
        assert error.name == "pandas" and "pip install pandas" in str(error), error
    else:
        raise AssertionError("a table without pandas")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


PROGRAM = """
import sys
import numpy as np, pandas as pd, pymm
s = pymm.shelf('test', pmem_path=sys.argv[1])
for n in range(1, 1000000):
    s.df = pd.DataFrame({'a': np.full(20000, n), 'b': [str(n)] * 20000})
    print(n, flush=True)
"""


def test_killed_while_storing(shelf, namespace):
    shelf.close()
    acknowledged = killed.acknowledged(PROGRAM, namespace, 3)
    with pymm.shelf("test", pmem_path=namespace) as s:
        number = s.df["a"].iloc[0]
        assert number in (acknowledged, acknowledged + 1)
        assert (s.df["a"] == number).all() and (s.df["b"] == str(number)).all()
    assert pymm.fsck(namespace, "test", scrub=True).clean
