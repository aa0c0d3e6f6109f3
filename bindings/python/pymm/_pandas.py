"""Tables of pandas, taken apart into arrays and made again of arrays on a shelf (docs/FORMAT.md, "Objects").

Only public interfaces of pandas are used, but for the values and mask of its nullable arrays. What comes back looks into
the shelf, but for texts: they are decoded, or, where pandas keeps them in PyArrow, checked. Codes of categories and of
levels are looked through, as pandas does not check them when it uses them.
"""

from __future__ import annotations

import re
from typing import Any, Callable

import numpy as np
import pandas as pd  # type: ignore[import-untyped, import-not-found, unused-ignore]

from . import _objects, _text
from ._objects import Parts, part

_FRAME, _SERIES = "pandas.DataFrame", "pandas.Series"
_INDEX, _RANGE, _MULTI = "pandas.Index", "pandas.RangeIndex", "pandas.MultiIndex"
_STRINGS, _MASKED, _CATEGORICAL = "pandas.strings", "pandas.masked", "pandas.categorical"
_ZONED, _PERIOD, _INTERVAL = "pandas.datetimetz", "pandas.period", "pandas.interval"

_SIMPLE = "biufc"  # kinds of elements of which several columns are one array

_ZONE = re.compile(r"[A-Za-z0-9_+:-]+(/[A-Za-z0-9_+:-]+)*")

# What may be missing in an object column, and still be told from others there.
_MISSING: dict[type[Any], int] = {type(None): _text.NONE, float: _text.NAN, type(pd.NA): _text.NA}
_MISSING_VALUES: dict[int, Any] = {_text.NONE: None, _text.NAN: float("nan"), _text.NA: pd.NA}


def version() -> str:
    return str(pd.__version__)


def is_stored(value: Any) -> bool:
    return type(value) in (pd.DataFrame, pd.Series) or (
        isinstance(value, pd.Index) and type(value).__module__.partition(".")[0] == "pandas"
    )


def advice(value: Any) -> str:
    for cls in (pd.DataFrame, pd.Series, pd.Index):
        if isinstance(value, cls):
            return f"it is a subclass of pandas.{cls.__name__}; convert it: pandas.{cls.__name__}(value)"
    if isinstance(value, (pd.Timestamp, pd.Timedelta)):
        return "convert it: value.to_numpy()"
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return "convert it: pandas.Series(value)"
    return "of pandas, DataFrame, Series and Index can be stored"


def copied(value: Any) -> Any:
    return value.copy(deep=True)


# --- taking apart -----------------------------------------------------------------------------------------


def taken_apart(value: Any) -> Parts:
    if isinstance(value, pd.Index):
        return _index(value, "index")
    index = _index(value.index, "index")
    if isinstance(value, pd.Series):
        name = f"series {value.name!r}" if value.name is not None else "series"
        parts: dict[str, Any] = {"data": _column(value, name), "index": index, "name": value.name}
        return Parts(_SERIES, {**parts, **_extras(value)})
    columns = _index(value.columns, "columns")
    return Parts(_FRAME, {"columns": columns, "index": index, "data": _data(value), **_extras(value)})


def _extras(value: Any) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    if value.attrs:
        if not _is_plain(value.attrs):
            raise TypeError("attrs: tables and matrices in it are not stored: give them variables of their own")
        extras["attrs"] = dict(value.attrs)
    if not value.flags.allows_duplicate_labels:
        extras["unique"] = True
    return extras


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return all(map(_is_plain, value)) if isinstance(value, (list, tuple)) else not _objects.is_object(value)


def _data(frame: pd.DataFrame) -> Any:
    """The columns; one array of two dimensions where pandas has them so."""
    count = frame.shape[1]
    dtypes = set(frame.dtypes)
    if count > 1 and len(frame) and len(dtypes) == 1:
        (dtype,) = dtypes
        if isinstance(dtype, np.dtype) and dtype.kind in _SIMPLE:
            whole = frame.to_numpy()
            if np.may_share_memory(whole, frame.iloc[:, 0].to_numpy()):
                return whole.T
    labels = frame.columns
    return [_column(frame.iloc[:, i], f"column {labels[i]!r}") for i in range(count)]


def _column(whole: Any, what: str) -> Any:
    """What is stored of the values of a Series or Index: an array, or Parts."""
    dtype, array = whole.dtype, whole.array
    if isinstance(dtype, np.dtype):
        values = np.asarray(whole)
        return _objects_of(values, what, "object") if dtype.kind == "O" else values
    if isinstance(dtype, pd.CategoricalDtype):
        categories = _index(array.categories, f"categories of {what}")
        return Parts(_CATEGORICAL, {"codes": array.codes, "categories": categories, "ordered": bool(array.ordered)})
    if isinstance(dtype, pd.DatetimeTZDtype):
        return Parts(_ZONED, {"data": np.asarray(array.tz_convert(None)), "zone": _zone(dtype, what)})
    if isinstance(dtype, pd.StringDtype):
        nan = getattr(dtype, "na_value", pd.NA) is not pd.NA
        found = _objects_of(np.asarray(array, dtype=object), what, "nan" if nan else "NA")
        found.parts["storage"] = str(dtype.storage)
        return found
    if isinstance(dtype, pd.PeriodDtype):
        return Parts(_PERIOD, {"data": array.asi8, "freq": dtype.name[len("period[") : -1]})
    if isinstance(dtype, pd.IntervalDtype):
        ends = {side: _column(getattr(array, side), what) for side in ("left", "right")}
        return Parts(_INTERVAL, {**ends, "closed": str(array.closed)})
    if dtype.name in _masked_dtypes():
        return Parts(_MASKED, {"data": array._data, "mask": array._mask, "dtype": dtype.name})
    if isinstance(dtype, pd.SparseDtype):
        raise TypeError(f"{what}: sparse columns ({dtype}) are not stored: convert it: .sparse.to_dense()")
    hint = ": convert it: .convert_dtypes(dtype_backend='numpy_nullable')" if "pyarrow" in str(dtype) else ""
    raise TypeError(f"{what}: its dtype {dtype} is not supported{hint or ': convert it with .astype()'}")


def _masked_dtypes() -> dict[str, Callable[..., Any]]:
    arrays = pd.arrays
    makers: dict[str, Callable[..., Any]] = {"boolean": arrays.BooleanArray}
    for bits in (8, 16, 32, 64):
        makers[f"Int{bits}"] = makers[f"UInt{bits}"] = arrays.IntegerArray
    for bits in (32, 64):
        makers[f"Float{bits}"] = arrays.FloatingArray
    return makers


def _objects_of(values: Any, what: str, dtype: str) -> Parts:
    """Of an array of objects. TypeError for all but texts and what stands for none."""
    others = set(map(type, values)) - {str}
    for cls in others - set(_MISSING):
        raise TypeError(
            f"{what}: an object of type {cls.__name__} among its values: of dtype object only str (and None, NaN, NA) is "
            "stored, nothing is pickled; convert it, as with .astype('float64') or .astype(str)"
        )
    missing = None
    if others:
        count = len(values)
        missing = np.fromiter((_MISSING.get(cls, 0) for cls in map(type, values)), np.uint8, count)
        if float in others and not all(value != value for value in values[missing == _text.NAN]):
            raise TypeError(f"{what}: a float among its texts is not stored; convert it: .astype(str)")
        if dtype != "object":
            missing[missing != 0] = _text.NA
    return Parts(_STRINGS, {**_text.taken_apart(values, missing), "dtype": dtype})


def _zone(dtype: Any, what: str) -> str:
    """A time zone by a name that is understood again."""
    offset = dtype.tz.utcoffset(None)
    names = [str(dtype.tz)]
    if offset is not None:
        minutes, rest = divmod(int(offset.total_seconds()), 60)
        if not rest:
            names.append(f"UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}")
    for name in names:
        if not _ZONE.fullmatch(name) or name.startswith("dateutil"):
            continue
        try:
            again = pd.DatetimeTZDtype(dtype.unit, name)
        except Exception:  # not only pandas' own: each of the libraries of time zones has errors of its own
            continue
        if again == dtype or (offset is not None and again.tz.utcoffset(None) == offset):
            return name
    raise TypeError(f"{what}: its time zone {dtype.tz!r} has no name that is known everywhere: convert it: .tz_convert()")


def _index(index: Any, what: str) -> Parts:
    if isinstance(index, pd.RangeIndex):
        return Parts(_RANGE, {"start": index.start, "stop": index.stop, "step": index.step, "name": index.name})
    if isinstance(index, pd.MultiIndex):
        levels = [_index(level, f"level {number} of {what}") for number, level in enumerate(index.levels)]
        codes = [np.asarray(part) for part in index.codes]
        return Parts(_MULTI, {"levels": levels, "codes": codes, "names": list(index.names)})
    parts: dict[str, Any] = {"name": index.name}
    if index.dtype == object and any(
        type(value) is not str and type(value) not in _MISSING or (type(value) is float and value == value)
        for value in index
    ):
        parts["labels"] = list(index)  # numbers and tuples beside texts: as the keys of a dict
    else:
        parts["data"] = _column(index, what)
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) and index.freq is not None:
        parts["freq"] = _freq(index.freq, what)
    return Parts(_INDEX, parts)


def _freq(freq: Any, what: str) -> str:
    text = str(freq.freqstr)
    try:
        known = pd.tseries.frequencies.to_offset(text) == freq
    except ValueError:
        known = False
    if not known:
        raise TypeError(f"{what}: its frequency {freq!r} has no text that says all of it: take it away: index.freq = None")
    return text


# --- and together -----------------------------------------------------------------------------------------


def _plain(array: Any, *kinds: str) -> Any:
    """An array that was read, as NumPy's own class."""
    if not isinstance(array, np.ndarray) or (kinds and array.dtype.kind not in kinds):
        raise _objects.Missing(f"an array was expected, not {getattr(array, 'dtype', type(array).__name__)}")
    return np.ndarray.view(array, np.ndarray)


def _one(array: Any, *kinds: str) -> Any:
    plain = _plain(array, *kinds)
    if plain.ndim != 1:
        raise _objects.Missing(f"an array of 1 dimension was expected, not of {plain.ndim}")
    return plain


def _is_of(value: Any, name: str) -> bool:
    return type(value) is Parts and value.name == name


def _values(found: Any) -> Any:
    """The column of what was read: an array of NumPy's or pandas'."""
    if type(found) is not Parts:
        return _one(found)
    maker = _COLUMNS.get(found.name)
    if maker is None:
        raise _objects.Missing(f"{found.name[:80]!r} is no column")
    return maker(found.parts)


def _strings(parts: dict[str, Any]) -> Any:
    dtype = part(parts, "dtype", str)
    if dtype != "object":
        storage = str(parts.get("storage", "python"))
        wanted = _string_dtype(storage, dtype == "nan")
        if wanted is not None and wanted.storage == "pyarrow":
            return _text.arrow_array(parts, wanted)
        if wanted is None:
            return _text.objects(parts, {code: float("nan") for code in _MISSING_VALUES})
        texts = _text.objects(parts, {code: wanted.na_value for code in _MISSING_VALUES})
        return pd.array(texts, dtype=wanted, copy=False)
    return _text.objects(parts, _MISSING_VALUES)


def _string_dtype(storage: str, nan: bool) -> Any:
    """pandas' dtype; one that keeps texts in Python where there is no PyArrow, None where it has none like it."""
    options = {"na_value": np.nan} if nan else {}
    for each in (storage, "python"):
        try:
            return pd.StringDtype(each, **options)
        except (ImportError, TypeError, ValueError):
            continue
    return None


def _masked(parts: dict[str, Any]) -> Any:
    maker = _masked_dtypes()[part(parts, "dtype", str)]
    found = maker(_one(part(parts, "data")), _one(part(parts, "mask"), "b"), copy=False)
    if found.dtype.name != parts["dtype"]:
        raise _objects.Missing(f"the elements are those of {found.dtype.name}")
    return found


def _categorical(parts: dict[str, Any]) -> Any:
    categories = _made_index(part(parts, "categories", Parts))
    dtype = pd.CategoricalDtype(categories, part(parts, "ordered", bool))
    # It looks at every code, and refuses those that have no category.
    return pd.Categorical.from_codes(_one(part(parts, "codes"), "i"), dtype=dtype)


def _zoned(parts: dict[str, Any]) -> Any:
    data, zone = _one(part(parts, "data"), "M"), part(parts, "zone", str)
    # pandas knows names, too, that are paths of files to be read. A name that the system does not know is looked for in the
    # package tzdata, which has data only.
    if not _ZONE.fullmatch(zone) or zone.startswith("dateutil"):
        raise _objects.Missing(f"{zone[:80]!r} is no name of a time zone")
    unit, count = np.datetime_data(data.dtype)
    if count != 1 or not data.dtype.isnative:
        raise _objects.Missing(f"datetimes of dtype {data.dtype}")
    try:
        dtype = pd.DatetimeTZDtype(unit, zone)
    except ValueError:  # before pandas 2 nanoseconds are the only unit
        dtype = pd.DatetimeTZDtype("ns", zone)
        data = data.astype("M8[ns]")
    # Integers are times in UTC, and are not copied.
    return pd.DatetimeIndex(data.view(np.int64), dtype=dtype, copy=False).array


def _periods(parts: dict[str, Any]) -> Any:
    ordinals = _one(part(parts, "data"), "i")
    if ordinals.dtype != np.int64:
        raise _objects.Missing(f"periods are counted in int64, not {ordinals.dtype}")
    return pd.arrays.PeriodArray(ordinals, dtype=pd.PeriodDtype(part(parts, "freq", str)), copy=False)


def _intervals(parts: dict[str, Any]) -> Any:
    left, right = (_values(part(parts, side)) for side in ("left", "right"))
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=part(parts, "closed", str))


def _made_index(found: Any) -> Any:
    if type(found) is not Parts or found.name not in _INDEXES:
        raise _objects.Missing("an index was expected")
    return _INDEXES[found.name](found.parts)


def _label(parts: dict[str, Any]) -> Any:
    label = part(parts, "name")
    hash(label)
    return label


def _plain_index(parts: dict[str, Any]) -> Any:
    name = _label(parts)
    if "labels" in parts:
        labels = part(parts, "labels", list)
        values = np.empty(len(labels), object)
        for number, label in enumerate(labels):
            hash(label)
            values[number] = label
        return pd.Index(values, dtype=object, name=name, tupleize_cols=False)
    values = _values(part(parts, "data"))
    options = {"dtype": object} if isinstance(values, np.ndarray) and values.dtype == object else {}
    index = pd.Index(values, name=name, copy=False, **options)
    if "freq" in parts:
        # It compares what is there with what the frequency says.
        index = type(index)(index, freq=part(parts, "freq", str), name=name)
    return index


def _range_index(parts: dict[str, Any]) -> Any:
    start, stop, step = (part(parts, key, int) for key in ("start", "stop", "step"))
    for number in (start, stop, step):
        if abs(number) >= 1 << 62:
            raise _objects.Missing(f"{number} is too large")
    return pd.RangeIndex(start, stop, step, name=_label(parts))


def _multi_index(parts: dict[str, Any]) -> Any:
    levels = [_made_index(level) for level in part(parts, "levels", list)]
    codes = [_one(codes, "i") for codes in part(parts, "codes", list)]
    names = part(parts, "names", list)
    return pd.MultiIndex(levels=levels, codes=codes, names=names, verify_integrity=True)


def _finished(made: Any, parts: dict[str, Any]) -> Any:
    if "attrs" in parts:
        made.attrs = part(parts, "attrs", dict)
    if parts.get("unique") is True:
        made.flags.allows_duplicate_labels = False
    # pandas copies what is shared before it is changed, and the one below shares with one that nobody changes. Before
    # pandas 3 changes in place meet memory that is read-only, and are refused.
    again = made.copy(deep=False)
    object.__setattr__(again, "_pymm_original", made)
    return again


def _series(parts: dict[str, Any]) -> Any:
    index = _made_index(part(parts, "index"))
    values = _values(part(parts, "data"))
    if len(values) != len(index):
        raise _objects.Missing(f"{len(values)} values and {len(index)} labels")
    dtype = object if values.dtype == object else None
    return _finished(pd.Series(values, index, dtype=dtype, name=_label(parts), copy=False), parts)


def _frame(parts: dict[str, Any]) -> Any:
    index, columns = _made_index(part(parts, "index")), _made_index(part(parts, "columns"))
    data = part(parts, "data")
    if isinstance(data, np.ndarray):
        whole = _plain(data, *_SIMPLE)
        if whole.shape != (len(columns), len(index)):
            raise _objects.Missing(f"an array of shape {whole.shape} for {len(columns)} columns of {len(index)} rows")
        return _finished(pd.DataFrame(whole.T, index, columns, copy=False), parts)
    found = [_values(column) for column in part(parts, "data", list)]
    if len(found) != len(columns) or any(len(column) != len(index) for column in found):
        raise _objects.Missing(f"{len(found)} columns, not all as long as the index, for {len(columns)} names")
    series = {
        number: pd.Series(column, index, dtype=object, copy=False) if column.dtype == object else column
        for number, column in enumerate(found)
    }
    frame = pd.DataFrame(series, index, copy=False)
    frame.columns = columns
    return _finished(frame, parts)


_COLUMNS: dict[str, Callable[[dict[str, Any]], Any]] = {
    _STRINGS: _strings,
    _MASKED: _masked,
    _CATEGORICAL: _categorical,
    _ZONED: _zoned,
    _PERIOD: _periods,
    _INTERVAL: _intervals,
}
_INDEXES: dict[str, Callable[[dict[str, Any]], Any]] = {
    _INDEX: _plain_index,
    _RANGE: _range_index,
    _MULTI: _multi_index,
}
MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {_FRAME: _frame, _SERIES: _series, **_INDEXES}
