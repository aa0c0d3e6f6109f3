"""pymmctl put: raw bytes, texts, pipes. Arrays in .npy files: test_cli_npy.py"""

import os
import subprocess

import numpy as np
import pytest

MIB = 1 << 20


def noise(size):
    return np.random.default_rng(size).bytes(size)


SIZES = [0, 1, 63, 64, 65, 4095, 4096, 4097, 2 * MIB, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 7]


@pytest.mark.parametrize("size", SIZES)
def test_raw_file_and_pipe(ctl, ns, tmp_path, size):
    ctl("create", "-s", "64M", ns / "s")
    data = noise(size)
    (tmp_path / "x").write_bytes(data)
    ctl("put", f"{ns}/s/file", tmp_path / "x")
    ctl("put", f"{ns}/s/pipe", "-", input=data)
    with open(tmp_path / "x", "rb") as stdin:
        ctl("put", f"{ns}/s/redirected", stdin=stdin)
    for name in ["file", "pipe", "redirected"]:
        info = ctl.json("info", f"{ns}/s/{name}")
        assert (info["kind"], info["size"]) == ("raw", size)
        assert ctl("cat", f"{ns}/s/{name}") == data


def test_redirected_from_the_middle(ctl, shelf, tmp_path):
    (tmp_path / "x").write_bytes(b"0123456789")
    with open(tmp_path / "x", "rb", buffering=0) as stdin:
        stdin.seek(4)
        ctl("put", f"{shelf}/x", stdin=stdin)
    assert ctl("cat", f"{shelf}/x") == b"456789"


def test_a_pipe_may_fill_most_of_the_shelf(ctl, ns, shelf):
    # 32 MiB: what comes needs no second place while it waits.
    data = os.urandom(20 * MIB + 12_345)
    ctl("put", f"{shelf}/x", "-", input=data)
    assert ctl("cat", f"{shelf}/x") == data
    assert ctl.json("info", f"{shelf}/x")["size"] == len(data)
    ctl("put", f"{shelf}/y", "-", input=data[: 8 * MIB])  # what was not needed is free again
    ctl.fails(6, "put", f"{shelf}/z", "-", input=data)
    assert ctl.names(shelf) == ["x", "y"]
    ctl("fsck", shelf)
    # Less than is asked for at first.
    ctl("create", "-s", "9M", ns / "small")
    ctl("put", f"{ns}/small/x", "-", input=data[: 6 * MIB + 1])
    assert ctl("cat", f"{ns}/small/x") == data[: 6 * MIB + 1]


def test_a_pipe_that_has_to_move(ctl, shelf):
    # The first free place is followed by a blob.
    data = os.urandom(14 * MIB)
    for name, size in [("a", 9 * MIB), ("b", MIB)]:
        ctl("put", f"{shelf}/{name}", input=bytes(size))
    ctl("erase", f"{shelf}/a")
    ctl("put", f"{shelf}/x", "-", input=data)
    assert ctl("cat", f"{shelf}/x") == data
    ctl("fsck", shelf)


def test_pipe_that_trickles(ctl, shelf):
    process = subprocess.Popen(ctl.command("put", f"{shelf}/x"), stdin=subprocess.PIPE)
    for i in range(100):
        process.stdin.write(b"%d " % i)
        process.stdin.flush()
    process.stdin.close()
    assert process.wait() == 0
    assert ctl("cat", f"{shelf}/x") == b"".join(b"%d " % i for i in range(100))


def test_files_of_proc(ctl, shelf):
    """They say that they are empty."""
    with open("/proc/cpuinfo", "rb") as f:
        size = len(f.read())
    ctl("put", f"{shelf}/x", "/proc/cpuinfo")
    assert ctl.json("info", f"{shelf}/x")["size"] >= size // 2


def test_replace(ctl, shelf):
    for size in [10, 3 * MIB, 0, 5 * MIB, 100]:
        ctl("put", f"{shelf}/x", input=noise(size))
        assert ctl("cat", f"{shelf}/x") == noise(size)
    assert ctl.names(shelf) == ["x"]


def test_no_replace(ctl, shelf):
    ctl("put", "-n", f"{shelf}/x", input=b"old")
    ctl.fails(4, "put", "-n", f"{shelf}/x", input=b"new")
    assert ctl("cat", f"{shelf}/x") == b"old"


def test_json(ctl, shelf):
    assert ctl.json("put", f"{shelf}/x", input=b"abc") == ctl.json("info", f"{shelf}/x")


def test_text(ctl, shelf):
    ctl("put", "--string", f"{shelf}/x", "snow 雪\n")
    assert ctl.json("info", f"{shelf}/x")["kind"] == "string"
    assert ctl("cat", f"{shelf}/x") == "snow 雪\n".encode()


@pytest.mark.parametrize("text", ["", " ", "list", "ls", "{}", "[1,2]", "%%", "a,b", "$HOME", "'\"", "--x"])
def test_texts_that_look_like_something_else(ctl, shelf, text):
    ctl("put", "--string", f"{shelf}/x", "--", text)
    assert ctl("cat", f"{shelf}/x") == text.encode()
    if not text.startswith("-"):
        ctl("put", "--string", f"{shelf}/y", text)
        assert ctl("cat", f"{shelf}/y") == text.encode()


def test_text_from_stdin(ctl, shelf):
    for args in [(), ("-",)]:
        ctl("put", "--string", f"{shelf}/x", *args, input="line\nü".encode())
        assert ctl("cat", f"{shelf}/x") == "line\nü".encode()


@pytest.mark.parametrize(
    "text", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"abc\xe2\x82", b"\x80", b"\xe0\x9f\xbf"]
)
def test_text_must_be_utf8(ctl, shelf, text):
    ctl.fails(2, "put", "--string", f"{shelf}/x", input=text)
    ctl.fails(2, "put", "--string", f"{shelf}/x", input=b"a" * (5 * MIB) + text)
    ctl.fails(2, "put", "--string", f"{shelf}/x", text)
    assert ctl.names(shelf) == []


def test_every_character_is_text(ctl, ns):
    ctl("create", "-s", "64M", ns / "s")
    text = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])).encode()
    ctl("put", "--string", f"{ns}/s/x", input=text)
    assert ctl("cat", f"{ns}/s/x") == text


def test_bytes(ctl, shelf):
    ctl("put", "--bytes", f"{shelf}/x", input=b"\0\xff")
    assert ctl.json("info", f"{shelf}/x")["kind"] == "bytes"
    assert ctl("cat", f"{shelf}/x") == b"\0\xff"


@pytest.mark.parametrize(
    "dtype, stored",
    [("float64", "<f8"), ("f8", "<f8"), ("=f8", "<f8"), (">f8", ">f8"), ("complex64", "<c8"),
     ("M8[us]", "<M8[us]"), ("m8[25s]", "<m8[25s]"), ("S8", "|S8"), ("U2", "<U2"), ("V8", "|V8"),
     ("uint8", "|u1"), ("<i1", "|i1"), ("bool", "|b1"), ("?", "|b1"), ("float16", "<f2")],
)  # fmt: skip
def test_dtype(ctl, shelf, dtype, stored):
    data = bytes(range(16)) if stored != "|b1" else bytes([0, 1] * 8)
    ctl("put", "--dtype", dtype, f"{shelf}/x", input=data)
    info = ctl.json("info", f"{shelf}/x")
    itemsize = np.dtype(stored).itemsize
    assert (info["kind"], info["dtype"], info["itemsize"]) == ("ndarray", stored, itemsize)
    assert info["shape"] == [16 // itemsize]
    assert ctl("cat", f"{shelf}/x") == data


def test_structured_dtype(ctl, shelf):
    dtype = "[('a', '<i4'), ('b', '<f4', (3,))]"
    ctl("put", "--dtype", dtype, f"{shelf}/x", input=bytes(32))
    info = ctl.json("info", f"{shelf}/x")
    assert (info["dtype"], info["itemsize"], info["shape"]) == (dtype, 16, [2])


@pytest.mark.parametrize("shape, stored", [("2,3", [2, 3]), ("(2, 3)", [2, 3]), ("6", [6]), ("(6,)", [6])])
def test_shape(ctl, shelf, shape, stored):
    ctl("put", "--dtype", "u1", "--shape", shape, f"{shelf}/x", input=b"abcdef")
    assert ctl.json("info", f"{shelf}/x")["shape"] == stored


def test_shape_without_dimensions_and_empty(ctl, shelf):
    ctl("put", "--dtype", "f8", "--shape", "()", f"{shelf}/x", input=bytes(8))
    assert ctl.json("info", f"{shelf}/x")["shape"] == []
    ctl("put", "--dtype", "f8", "--shape", "3,0", f"{shelf}/x", "/dev/null")
    assert ctl.json("info", f"{shelf}/x")["shape"] == [3, 0]


def test_order(ctl, shelf):
    for order, strides in [("C", [3, 1]), ("F", [1, 2])]:
        ctl("put", "--dtype", "u1", "--shape", "2,3", "--order", order, f"{shelf}/x", input=b"abcdef")
        info = ctl.json("info", f"{shelf}/x")
        assert (info["order"], info["strides"]) == (order, strides)


@pytest.mark.parametrize(
    "options",
    [
        ["--dtype", "O"], ["--dtype", "f3"], ["--dtype", ""], ["--dtype", "f"], ["--dtype", "i8x"],
        ["--dtype", "M8[zz]"], ["--dtype", "M8[us"], ["--dtype", "S4294967296"], ["--dtype", "U1073741824"],
        ["--dtype", "[('a', 'O')]"], ["--dtype", "[('a', '<i4'"], ["--dtype", "[]x"], ["--dtype", "f8,f8"],
        ["--dtype", "[('a', '<i4'), ('a', '<i4')]"], ["--dtype", "f8", "--shape", "2"],
        ["--dtype", "f8", "--shape", "-1"], ["--dtype", "f8", "--shape", "3,,1"], ["--dtype", "u1", "--shape", "x"],
        ["--dtype", "f8", "--shape", "9223372036854775807,2"], ["--dtype", "f8", "--shape", ""],
        ["--dtype", "f8", "--shape", "3", "--order", "A"], ["--shape", "3"], ["--order", "C"],
        ["--dtype", "i2", "--shape", "4"], ["--dtype", "f8", "--string"], ["--string", "--bytes"],
        ["--dtype", "f8", "--format", "raw"], ["--format", "csv"], ["--nonsense"], ["--dtype", "S0"],
        ["--dtype", "u1", "--shape", ",".join(["1"] * 65)],
    ],
)  # fmt: skip
def test_wrong_usage(ctl, shelf, options):
    ctl.fails(2, "put", *options, f"{shelf}/x", "-", input=bytes(27))
    assert ctl.names(shelf) == []


def test_no_space(ctl, ns, tmp_path):
    ctl("create", "-s", "16M", ns / "s")
    ctl("put", "--string", f"{ns}/s/x", "kept")
    before = ctl.json("info", ns / "s")["free"]
    (tmp_path / "big").write_bytes(bytes(20 * MIB))
    for source in [tmp_path / "big", "/dev/zero"]:  # the latter never ends
        ctl.fails(6, "put", f"{ns}/s/x", source)
    assert ctl("cat", f"{ns}/s/x") == b"kept"
    after = ctl.json("info", ns / "s")
    assert after["blobs"] == 1 and after["free"] >= before - 4 * MIB
    ctl("put", f"{ns}/s/y", input=bytes(4 * MIB))


def test_killed_while_it_reads(ctl, shelf, writer):
    """Nothing is there, nothing is lost, the lock is free."""
    ctl("put", "--string", f"{shelf}/x", "kept")
    free = ctl.json("info", shelf)["free"]
    process = writer(f"{shelf}/x")
    process.stdin.write(bytes(9 * MIB))
    process.stdin.flush()
    process.kill()
    process.wait()
    ctl("put", "--string", f"{shelf}/y", "next")
    assert ctl("cat", f"{shelf}/x") == b"kept"
    assert ctl.json("info", shelf)["free"] >= free - MIB


def test_busy(ctl, shelf, writer):
    process = writer(f"{shelf}/w")
    ctl.fails(5, "put", "--string", f"{shelf}/x", "y")
    process.communicate(b"done")
    assert process.returncode == 0
    ctl("put", "--string", f"{shelf}/x", "y")
    assert ctl("cat", f"{shelf}/w", f"{shelf}/x").endswith(b"wwwdoney")


def test_not_found(ctl, ns, shelf):
    ctl.fails(3, "put", f"{shelf}/x", "nothing-there")
    ctl.fails(3, "put", f"{ns}/t/x", input=b"")
    ctl.fails(3, "put", f"{ns}/no/thing/x", input=b"")


def test_bad_places(ctl, ns, shelf):
    for path in [ns, shelf, "", f"{shelf}/", f"{shelf}/a/../b", f"{shelf}/a/", f"{shelf}/a//b", f"{shelf}/." ]:
        ctl.fails(2, "put", "--string", path, "x")
    ctl.fails(2, "put", "--string", f"{shelf}/" + "n" * 1025, "x")
    ctl.fails(2, "put", "--string", os.fsencode(shelf) + b"/\xff", "x")
    ctl("put", "--string", f"{shelf}/" + "n" * 1024, "x")
    assert ctl.names(shelf) == ["n" * 1024]


def test_a_directory_is_no_input(ctl, shelf, tmp_path):
    ctl.fails(1, "put", f"{shelf}/x", tmp_path)
    assert ctl.names(shelf) == []
