"""put and get of .npy files: round trips of every dtype, and hostile files."""

import io
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# NumPy's own remarks on formats that old versions of it cannot read.
pytestmark = pytest.mark.filterwarnings("ignore:Stored array in format", "ignore:Custom dtypes")

MIB = 1 << 20
rng = np.random.default_rng(7)


def npy(array, version=None):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version, allow_pickle=False)
    return file.getvalue()


def filled(dtype, shape):
    """An array with bytes of every value; bool takes only 0 and 1."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if dtype == np.bool_:
        return rng.integers(0, 2, shape).astype(bool)
    return np.frombuffer(rng.bytes(count), np.uint8).view(dtype).reshape(shape).copy()


DTYPES = [
    "?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16",
    ">i2", ">i4", ">i8", ">u2", ">f4", ">f8", ">c16", "S1", "S7", "U3", ">U3", "V5",
    "M8[ns]", ">M8[D]", "M8[25s]", "m8[us]", "m8", "f16", "c32",
    [("x", "<i4"), ("y", ">f8")],
    [("x", "<i4", (2, 3)), ("name", "U4"), ("nested", [("a", "u1"), ("b", "S3", (2,))])],
    np.dtype([("a", "u1"), ("b", "f8")], align=True),
    np.dtype({"names": ["a", "b"], "formats": ["u1", "i4"], "offsets": [1, 8], "itemsize": 16}),
    [(("a title", "x"), "<i4")],
    [("größe", "<f4")], [("雪", "<f4")], [("it's \"q\\", "<f4")],
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[:40])
def test_dtypes(ctl, shelf, tmp_path, dtype):
    a = filled(dtype, (3, 5))
    np.save(tmp_path / "a.npy", a)
    ctl("put", f"{shelf}/a", tmp_path / "a.npy")
    info = ctl.json("info", f"{shelf}/a")
    assert (info["kind"], info["itemsize"], info["shape"]) == ("ndarray", a.itemsize, [3, 5])
    assert ctl("cat", f"{shelf}/a") == a.tobytes()
    ctl("get", f"{shelf}/a", tmp_path / "b.npy")
    b = np.load(tmp_path / "b.npy")
    assert b.shape == a.shape and b.tobytes() == a.tobytes()
    # What NumPy itself loses in a .npy file, padding and titles aside, we keep.
    assert b.dtype == np.load(tmp_path / "a.npy").dtype
    if a.dtype.names is None:
        assert info["dtype"] == a.dtype.str


SHAPES = [(), (0,), (1,), (7,), (3, 0, 2), (1, 1, 1), (2, 3, 4, 5), (1,) * 32, (1000, 1000)]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_and_orders(ctl, shelf, tmp_path, shape, order):
    a = np.asarray(filled("<f8", shape), order=order)
    np.save(tmp_path / "a.npy", a)
    ctl("put", f"{shelf}/a", tmp_path / "a.npy")
    data = ctl("get", f"{shelf}/a")
    assert data == (tmp_path / "a.npy").read_bytes() or len(shape) <= 1 or a.flags.forc
    b = np.load(io.BytesIO(data))
    assert b.shape == a.shape and b.dtype == a.dtype and b.tobytes() == a.tobytes()
    if a.ndim > 1 and a.size > 1 and not (a.flags.c_contiguous and a.flags.f_contiguous):
        assert b.flags.fnc == (order == "F")


def test_header_is_as_numpy_writes_it(ctl, shelf):
    """Same length and alignment, so that files can be mapped."""
    data = npy(filled("<f8", (10, 20)))
    ctl("put", f"{shelf}/a", input=data)
    out = ctl("get", f"{shelf}/a")
    assert out.index(b"\n") + 1 == 128 - 64 * (len(out) == 1600 + 64)
    assert (len(out) - 1600) % 64 == 0
    assert out[-1600:] == data[-1600:]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions(ctl, shelf, version):
    a = filled("<i4", (4, 4))
    ctl("put", f"{shelf}/a", input=npy(a, version))
    assert np.array_equal(np.load(io.BytesIO(ctl("get", f"{shelf}/a"))), a)


def wide(length):
    """A structured dtype whose literal has this many bytes."""
    fields = [(f"field{i:05}", "<i4") for i in range((length - 1000) // 23)]
    fields += [("x" * (length - len(str(fields)) - 13), "<i4")]
    assert len(str(fields)) == length
    return fields


def test_wide_structured_type_needs_version_2(ctl, shelf):
    """Headers beyond 64 KiB are for version 2.0 and later, for us as for NumPy."""
    a = filled(wide(65480), (2,))
    ctl("put", f"{shelf}/a", input=npy(a, (2, 0)))
    out = ctl("get", f"{shelf}/a")
    assert out[6] == 2
    b = np.lib.format.read_array(io.BytesIO(out), max_header_size=1 << 20)
    assert b.dtype == a.dtype and b.shape == a.shape and b.tobytes() == a.tobytes()


def test_too_wide(ctl, shelf):
    ctl.fails(2, "put", f"{shelf}/a", input=npy(filled(wide(66000), (2,)), (2, 0)))


@pytest.mark.parametrize("size", [MIB // 8 - 16, 5 * MIB // 8, 5 * MIB // 8 + 1])
def test_pipe_and_file(ctl, ns, tmp_path, size):
    ctl("create", "-s", "64M", ns / "s")
    a = filled("<f8", (size,))
    np.save(tmp_path / "a.npy", a)
    ctl("put", f"{ns}/s/file", tmp_path / "a.npy")
    ctl("put", f"{ns}/s/pipe", "-", input=npy(a))
    for name in ["file", "pipe"]:
        ctl("get", f"{ns}/s/{name}", tmp_path / "b.npy")
        assert np.array_equal(np.load(tmp_path / "b.npy"), a, equal_nan=True)


def test_what_is_taken_for_npy(ctl, shelf, tmp_path):
    data = npy(filled("u1", (5,)))
    (tmp_path / "magic").write_bytes(data)
    (tmp_path / "named.npy").write_bytes(b"no magic")
    ctl("put", f"{shelf}/a", tmp_path / "magic")
    assert ctl.json("info", f"{shelf}/a")["kind"] == "ndarray"
    ctl("put", "--format", "raw", f"{shelf}/a", tmp_path / "magic")
    assert ctl.json("info", f"{shelf}/a")["kind"] == "raw"
    assert ctl("cat", f"{shelf}/a") == data
    ctl.fails(7, "put", f"{shelf}/b", tmp_path / "named.npy")
    ctl("put", "--format", "raw", f"{shelf}/b", tmp_path / "named.npy")
    ctl.fails(7, "put", "--format", "npy", f"{shelf}/c", input=b"no magic")
    for short in [b"\x93NUMP", b"", b"\x93"]:
        ctl("put", f"{shelf}/d", input=short)
        assert ctl("cat", f"{shelf}/d") == short


def raw_npy(header, data=b"", version=1, length=None):
    if isinstance(header, str):
        header = header.encode("latin1" if version < 3 else "utf8")
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + size.to_bytes(2 if version == 1 else 4, "little") + header + data


def test_hand_written_header(ctl, shelf):
    """Spacing, quotes, order of keys and Python 2's long integers are free."""
    header = "\n{ \"shape\":(2L , 3), 'fortran_order' : False,\t'descr': '<i2'}  "
    ctl("put", f"{shelf}/a", input=raw_npy(header, bytes(12)))
    info = ctl.json("info", f"{shelf}/a")
    assert (info["dtype"], info["shape"]) == ("<i2", [2, 3])


GOOD = "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n"
HOSTILE = {
    "empty header": raw_npy(""),
    "cut off in the magic's version": b"\x93NUMPY",
    "cut off in the length": b"\x93NUMPY\x01\x00\x10",
    "cut off in the header": raw_npy(GOOD)[:-5],
    "header longer than it says": raw_npy(GOOD, length=5),
    "claims 4 GiB of header": raw_npy(GOOD, version=2, length=2**32 - 1),
    "claims 64 KiB of header": raw_npy(GOOD, length=65535),
    "space that is none to Python": raw_npy(GOOD.replace(" ", "\v", 1), b"abcd"),
    "no data": raw_npy(GOOD),
    "data cut off": raw_npy(GOOD, b"abc"),
    "data goes on": raw_npy(GOOD, b"abcde"),
    "no dict": raw_npy("('<i2', False, (2,))\n", b"abcd"),
    "code": raw_npy("{'descr': '<i2', 'fortran_order': False, 'shape': (__import__('os').getpid(),)}\n"),
    "comprehension": raw_npy("{'descr': '<i2', 'fortran_order': False, 'shape': (i for i in (1,))}\n"),
    "missing key": raw_npy("{'descr': '<i2', 'shape': (2,)}\n", b"abcd"),
    "unknown key": raw_npy(GOOD.replace("}", "'x': 1}"), b"abcd"),
    "key twice": raw_npy(GOOD.replace("}", "'shape': (1,)}"), b"abcd"),
    "number as key": raw_npy(GOOD.replace("'descr'", "1"), b"abcd"),
    "negative size": raw_npy(GOOD.replace("2,", "-2,"), b"abcd"),
    "shape is a number": raw_npy(GOOD.replace("(2,)", "2"), b"abcd"),
    "shape is a list": raw_npy(GOOD.replace("(2,)", "[2]"), b"abcd"),
    "shape of strings": raw_npy(GOOD.replace("2,", "'2',"), b"abcd"),
    "shape of booleans": raw_npy(GOOD.replace("2,", "True,"), b"ab"),
    "shape overflows": raw_npy(GOOD.replace("2,", "4294967296,4294967296,"), b"abcd"),
    "shape overflows times itemsize": raw_npy(GOOD.replace("2,", "9223372036854775807,"), b"abcd"),
    "size beyond 64 bits": raw_npy(GOOD.replace("2,", "1" * 30 + ","), b"abcd"),
    "65 dimensions": raw_npy(GOOD.replace("2,", "1," * 64 + "2,"), b"abcd"),
    "more than there is": raw_npy(GOOD.replace("2,", "4000000000000,"), b"abcd"),
    "order is a string": raw_npy(GOOD.replace("False", "'C'"), b"abcd"),
    "order is a number": raw_npy(GOOD.replace("False", "0"), b"abcd"),
    "unknown dtype": raw_npy(GOOD.replace("<i2", "<q2"), b"abcd"),
    "itemsize beyond 32 bits": raw_npy(GOOD.replace("<i2", "|V4294967298"), b"abcd"),
    "dtype of no size": raw_npy(GOOD.replace("<i2", "<i"), b"abcd"),
    "dtype with NUL": raw_npy(GOOD.replace("<i2", "<i\\x002"), b"abcd"),
    "dtype with raw NUL": raw_npy(GOOD.replace("<i2", "<i\x002"), b"abcd"),
    "dtype is a number": raw_npy(GOOD.replace("'<i2'", "2"), b"abcd"),
    "subarray dtype": raw_npy(GOOD.replace("'<i2'", "('<i2', (2,))"), bytes(8)),
    "field without dtype": raw_npy(GOOD.replace("'<i2'", "[('a',)]"), b"abcd"),
    "field with a wild shape": raw_npy(GOOD.replace("'<i2'", "[('a', '<i2', 'x')]"), b"abcd"),
    "fields overflow": raw_npy(
        GOOD.replace("'<i2'", "[('a', '<i8', (4294967296, 4294967296, 2))]"), b"abcd"),
    "fields too large": raw_npy(
        GOOD.replace("'<i2'", "[('a', '|V4294967295'), ('b', '|V4294967295')]"), b"abcd"),
    "fields of one name": raw_npy(GOOD.replace("'<i2'", "[('a', '|u1'), ('a', '|u1')]"), b"abcd"),
    "deep nesting": raw_npy(GOOD.replace("'<i2'", "[('a'," * 5000 + "'<i2'" + ")]" * 5000), b"abcd"),
    "deep tuples": raw_npy("(" * 60000),
    "unclosed string": raw_npy("{'descr"),
    "unclosed escape": raw_npy("{'\\"),
    "bad escape": raw_npy(GOOD.replace("descr", "desc\\xZZ"), b"abcd"),
    "surrogate escape": raw_npy(GOOD.replace("'<i2'", "[('\\ud800', '<i2')]"), b"abcd"),
    "no UTF-8": raw_npy(GOOD.encode().replace(b"<i2", b"<\xff2"), b"abcd", version=3),
    "something follows": raw_npy(GOOD + "x", b"abcd"),
    "a second dict": raw_npy(GOOD + GOOD, b"abcd"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile(ctl, shelf, tmp_path, case):
    ctl("put", "--string", f"{shelf}/a", "kept")
    # From a pipe it cannot be known that the data will not come.
    code = 6 if case == "more than there is" else 7
    ctl.fails(code, "put", "--format", "npy", f"{shelf}/a", input=HOSTILE[case])
    (tmp_path / "a.npy").write_bytes(HOSTILE[case])
    ctl.fails(7, "put", f"{shelf}/a", tmp_path / "a.npy")
    assert ctl("cat", f"{shelf}/a") == b"kept" and ctl.names(shelf) == ["a"]


def test_newer_version(ctl, shelf):
    for version in [(0, 0), (4, 0), (1, 1), (255, 255)]:
        data = b"\x93NUMPY" + bytes(version) + raw_npy(GOOD, b"abcd")[8:]
        ctl.fails(8, "put", f"{shelf}/a", input=data)


@pytest.mark.parametrize(
    "dtype", ["'|O'", "'|O8'", "[('x', '|O')]", "[('a', [('b', '|O')])]", "[('a', '|O', (2,))]"]
)
def test_objects(ctl, shelf, dtype):
    message = ctl.fails(2, "put", f"{shelf}/a", input=raw_npy(GOOD.replace("'<i2'", dtype), bytes(99)))
    assert "Python objects" in message


def test_a_real_object_array(ctl, shelf, tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}, "x"], dtype=object), allow_pickle=True)
    assert "Python objects" in ctl.fails(2, "put", f"{shelf}/a", tmp_path / "o.npy")


def test_string_dtype_of_numpy_2(ctl, shelf, tmp_path):
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("this NumPy has no StringDType")
    np.save(tmp_path / "t.npy", np.array(["a"], dtype=np.dtypes.StringDType()))
    assert ctl.run("put", f"{shelf}/a", tmp_path / "t.npy").returncode in (2, 7)


@settings(
    max_examples=1000 if os.environ.get("PYMM_TEST_LONG") else 120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(data=st.data())
def test_damaged_headers(ctl, shelf, data):
    """Whatever the bytes: refused or stored, never a crash, and never more than NumPy would take."""
    good = bytearray(npy(np.zeros(3, [("x", "<i4"), ("y", "<f8", (2,))])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(6, len(good) - 1))
        kind = data.draw(st.sampled_from(["set", "insert", "cut"]))
        if kind == "cut":
            del good[at : at + data.draw(st.integers(1, 20))]
        elif kind == "insert":
            good[at:at] = data.draw(st.sampled_from([b"(", b")", b"'", b",", b"9", b"-", b"[", b"\\", b"{"]))
        else:
            good[at] = data.draw(st.integers(0, 255))
        if len(good) < 8:
            break
    done = ctl.run("put", "--format", "npy", f"{shelf}/a", input=bytes(good))
    assert done.returncode in (0, 2, 7, 8), done
    if done.returncode == 0:
        try:
            expected = np.load(io.BytesIO(bytes(good)), allow_pickle=False)
        except ValueError as error:
            raise AssertionError(f"NumPy refuses what was stored: {error}: {bytes(good)!r}")
        stored = np.load(io.BytesIO(ctl("get", f"{shelf}/a")), allow_pickle=False)
        assert stored.dtype == expected.dtype and stored.shape == expected.shape
        assert stored.tobytes() == expected.tobytes()
