"""Which operations are durable when they return: what the library is asked to make durable, and what the file has.

On page granularity that is a call of msync(2) or pwritev2(2). A library between the process and libc counts them.
"""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

COUNTER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/uio.h>
long syncs = 0;
int msync(void* a, size_t n, int f) {
    int (*real)(void*, size_t, int) = dlsym(RTLD_NEXT, "msync");
    __sync_fetch_and_add(&syncs, 1);
    return real(a, n, f);
}
ssize_t pwritev64v2(int fd, const struct iovec* v, int c, off_t o, int f) {
    ssize_t (*real)(int, const struct iovec*, int, off_t, int) = dlsym(RTLD_NEXT, "pwritev64v2");
    __sync_fetch_and_add(&syncs, 1);
    return real(fd, v, c, o, f);
}
"""

SETUP = """
    import ctypes, sys, threading
    import numpy as np, pymm
    syncs = ctypes.c_long.in_dll(ctypes.CDLL(None), "syncs")
    s = pymm.shelf("d", pmem_path=sys.argv[1], size_mb=16)
    if s._state.handle.stat()["granularity"] != "page":
        print("granularity")
        sys.exit()
    one, two = np.ones(30), np.ones((30, 30))

    def fresh():
        s.x, s.y, s.z, s.m = np.arange(1000.0), np.arange(1000.0), np.ones(1000), np.arange(900.0).reshape(30, 30)
        s.i, s.c = np.arange(30), np.ones(10, complex)
        s.r = np.zeros(10, [("f", "f8"), ("p", "i4", 3), ("n", [("q", "i4")])])
        for name in s.items:
            s[name]

    def run(code, failed):
        try:
            exec(code, globals())
        except BaseException as e:
            failed.append(e)

    # In a thread of its own: one that has read of several arrays that are gone by now flushes more than it need.
    def count(code):
        fresh()
        before, failed = syncs.value, []
        thread = threading.Thread(target=run, args=[code, failed])
        thread.start()
        thread.join()
        if failed and isinstance(failed[0], AssertionError):  # one of the steps
            return 0
        if failed:
            raise failed[0]
        return syncs.value - before
"""

# Each gave none before it was looked after, or is a case beside one that did.
DURABLE = """
s.x += 1
s.x[1] += 9
s.x[1:5] += 9
s.x[[1, 2]] += 1
s.x[s.x > 100] += 1
s['x'] += 1
s.m[2, 3] += 1
s.m[1][2] += 1
s.c.real += 1
s.x[0] += sum(s.y[j] for j in range(10))
s.x[0] += sum(s.y[j] for j in range(1000))
s.x[0] += sum(s.x[j] for j in range(1, 1000))
s.r[0]['f'] += 1
s.r[0]['p'][1] += 1
s.r[0]['p'] += 1
s.r[0]['n']['q'] += 1
s.r[0][['f', 'n']]['f'] += 1
s.r['f'][0] += 1
s.r.flat[2]['f'] += 1
s.r[:][0]['f'] += 1
for row in s.r: row['f'] += 1
s.x.flat[3] += 1
s.x.flat[-1] += 1
s.x.flat[2:4] += 1
s.m.T.flat[3] += 1
a = s.x; a[0] = 5; s.x = a
a = s.x; a[0] = 5; s['x'] = a
a = s.x; a += 1; n = syncs.value; a[0] = 5; s.x = a; assert syncs.value > n
a = s.x; a += 1; n = syncs.value; a[1:][0] = 5; s.x = a; assert syncs.value > n
a = s.x; a += 1; n = syncs.value; memoryview(a)[0] = 5; s.x = a; assert syncs.value > n
a = s.x; a += 1; n = syncs.value; a.asndarray()[0] = 5; s['x'] = a; assert syncs.value > n
s.x += 1; n = syncs.value; s.x.asndarray()[0] = 5; s.x = s.x; assert syncs.value > n
np.add(s.x, 1, out=s.x)
np.add(s.x, 1, s.x)
np.add(np.ones(1000), 1, out=s.x)
np.add(s.x, 1, out=s.x, where=s.x > 0)
np.add(s.x[::2], 1, out=s.x[::2])
np.add.at(s.x, [1, 2], 1)
np.negative.at(s.x, [1, 2])
np.add.reduce(s.m, axis=0, out=s.m[0])
np.add.reduce(two, 0, None, s.m[0])
np.add.accumulate(s.x, out=s.x)
np.add.reduceat(s.x, [0, 500], out=s.x[:2])
np.add.outer(one, one, out=s.m)
np.divmod(np.ones(1000), 2, out=(s.x, s.y))
np.divmod(np.ones(1000), 2, out=(None, s.y))
np.frexp(s.x, out=(s.x, np.zeros(1000, np.int32)))
np.matmul(two, two, out=s.m)
np.sum(s.m, axis=0, out=s.m[0])
np.sum(two, 0, None, s.m[0])
np.sum(two, axis=0, out=s.m[0])
np.prod(two, axis=0, out=s.m[0])
np.max(two, axis=0, out=s.m[0])
np.mean(two, axis=0, out=s.m[0])
np.std(two, axis=0, out=s.m[0])
np.median(two, axis=0, out=s.m[0])
np.median(two, 0, s.m[0])
np.percentile(two, 50, axis=0, out=s.m[0])
np.nanmax(two, axis=0, out=s.m[0])
np.nansum(two, axis=0, out=s.m[0])
np.argmax(two, axis=0, out=s.i)
np.argmax(two, 0, s.i)
np.trace(two, out=s.x[0, ...])
np.cumsum(s.x, out=s.x)
np.cumsum(one, 0, None, s.m[0])
np.cumprod(one, out=s.m[0])
np.dot(two, two, out=s.m)
np.dot(two, two, s.m)
np.clip(s.x, 0, 1, out=s.x)
np.clip(np.ones(1000), 0, 1, s.x)
np.round(s.x, 2, out=s.x)
np.take(s.y, [1, 2], out=s.x[:2])
np.take(one, [1, 2], 0, s.x[:2])
np.compress([1, 1], np.ones(2), out=s.x[:2])
np.choose([0, 1], [np.ones(2), np.ones(2)], out=s.x[:2])
np.concatenate([np.ones(500), np.ones(500)], out=s.x)
np.stack([one] * 30, out=s.m)
np.einsum("ij->i", two, out=s.m[0])
np.linalg.multi_dot([two] * 3, out=s.m)
np.copyto(s.x, 5)
np.copyto(dst=s.x, src=5)
np.copyto(s.x, s.y)
np.put(s.x, [1, 2], 5)
np.place(s.x, s.x > 5, [1])
np.putmask(s.x, s.x > 5, [1])
np.fill_diagonal(s.m, 5)
np.put_along_axis(s.m, np.zeros((30, 1), int), 5, 1)
np.nan_to_num(s.x, copy=False)
np.ones(1000).cumsum(out=s.x)
two.sum(axis=0, out=s.m[0])
two.mean(axis=0, out=s.m[0])
two.clip(0, 1, out=s.m)
s.x.cumsum(out=s.x)
s.m.cumprod(0, None, s.m)
s.m.sum(axis=0, out=s.m[0])
s.m.sum(0, None, s.m[0])
s.m.mean(axis=0, out=s.m[0])
s.m.max(axis=0, out=s.m[0])
s.m.std(axis=0, out=s.m[0])
s.m.argmax(axis=0, out=s.i)
s.m.argmin(0, s.i)
s.m.dot(two, out=s.m)
s.m.trace(out=s.x[0, ...])
s.x.take([1, 2], out=s.x[:2])
s.x.clip(0, 1, out=s.x)
s.x.clip(0, 1, s.x)
s.x.round(2, out=s.x)
s.x.compress([1, 1], out=s.x[:2])
s.i.choose([one] * 30, out=s.m[0])
s.x.fill(1)
s.m[::2].fill(1)
s.x.sort()
s.m.T.sort()
s.x.partition(3)
s.x.put([0], [1])
s.x.byteswap(inplace=True)
s.x.setfield(1.0, np.float64)
"""

# Read by nobody as changes, or documented to need persist(): syncs here would make loops of them slow.
NOT_DURABLE = """
s.x[0] = 1
s.x[1:5] = 1
s.x.flat[0] = 1
s.r[0]['f'] = 1
s.r[0] = 1
for i in range(1000): s.x[i] = 1
for i in range(1000): s.x[i] = s.y[i] + 1
for i in np.arange(1000): s.x[i] = s.y[i] + s.y[i - 1]
for i in list(range(1000)): s.x[i] = s.y[i] + s.z[i]
s.x + 1; s.x > 1; s.x == s.y; np.sqrt(s.x); s.x.sum(); np.mean(s.m); np.dot(s.m, s.m); np.concatenate([s.x, s.y])
np.copyto(np.empty(1000), s.x)
np.atleast_1d(s.x); np.broadcast_to(s.x, (2, 1000)); np.ravel(s.x); np.split(s.x, 2); np.moveaxis(s.m, 0, 1)
np.dot(s.x, s.y, np.array(0.0))
s.m.sum(axis=0, out=np.empty(30))
"""


def lines(text):
    return [line for line in text.strip().splitlines()]


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    """The counting library, or a reason to skip."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler for the library that counts system calls")
    folder = tmp_path_factory.mktemp("counter")
    source, library = folder / "count.c", folder / "count.so"
    source.write_text(COUNTER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


@pytest.fixture
def counted(counter, namespace):
    """Runs code after SETUP, with its lines of output as the result."""
    if os.environ.get("LD_PRELOAD"):
        pytest.skip("LD_PRELOAD is in use")

    def run(code):
        program = textwrap.dedent(SETUP) + textwrap.dedent(code)
        # Without this: only page granularity tells by system calls what is made durable.
        environment = {k: v for k, v in os.environ.items() if k != "PMEM2_FORCE_GRANULARITY"}
        done = subprocess.run(
            [sys.executable, "-c", program, namespace],
            env={**environment, "LD_PRELOAD": counter}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        if done.stdout.strip() == "granularity":
            pytest.skip("the media here has no page granularity: nothing to count")
        return done.stdout.splitlines()

    return run


def test_these_are_durable_when_they_return(counted):
    out = counted(f"for code in {lines(DURABLE)!r}: print(count(code))")
    missed = [code for code, n in zip(lines(DURABLE), out) if int(n) == 0]
    assert missed == [] and len(out) == len(lines(DURABLE))


def test_these_cost_no_sync(counted):
    out = counted(f"for code in {lines(NOT_DURABLE)!r}: print(count(code))")
    synced = [code for code, n in zip(lines(NOT_DURABLE), out) if int(n) != 0]
    assert synced == [] and len(out) == len(lines(NOT_DURABLE))


def test_one_sync_for_one_operator(counted):
    """Assigning what the operator has made durable costs nothing more."""
    codes = ["s.x += 1", "s['x'] += 1", "s.x[1] += 1", "np.add(s.x, 1, out=s.x)", "s.r[0]['f'] += 1", "s.x.flat[3] += 1"]
    assert counted(f"for code in {codes!r}: print(count(code))") == ["1"] * len(codes)


def test_an_operator_within_an_operator(counted):
    """The right side changes the same element: both are durable."""
    code = """
    def inner():
        s.x[0] += 1
        return 1

    fresh()
    before = syncs.value
    s.x[0] += inner()
    print(syncs.value - before)
    """
    assert counted(code) == ["2"]


def test_other_threads_reads_hide_nothing(counted):
    code = """
    import threading

    def read():
        for i in range(20_000):
            s.y[i % 1000]

    def right():
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        return 1

    fresh()
    before = syncs.value
    s.x[0] += right()
    print(syncs.value - before)

    # Nor does what another thread did last to the array count for this one.
    a = s.x
    a[0] = 5
    thread = threading.Thread(target=lambda: a.__iadd__(1))
    thread.start()
    thread.join()
    a.asndarray()[0] = 5
    before = syncs.value
    s.x = a
    print(syncs.value - before)
    """
    assert counted(code) == ["1", "1"]


def test_results_of_out(shelf):
    """What is given as `out` is what comes back, of its own type; other results are plain."""
    shelf.x, shelf.y, shelf.m = np.arange(4.0), np.ones(4), np.arange(4.0).reshape(2, 2)
    x, y, m = shelf.x, shelf.y, shelf.m
    assert np.add(x, 1, out=x) is x and np.add(np.ones(4), 1, x) is x
    assert [id(each) for each in np.divmod(x, 2, out=(x, y))] == [id(x), id(y)]
    quotient, rest = np.divmod(np.full(4, 5.0), 2, out=(None, y))
    assert type(quotient) is np.ndarray and rest is y and y.tolist() == [1] * 4
    part = m[0]
    assert np.add.reduce(m, axis=0, out=part) is part and m[0].tolist() == [2, 4]
    assert np.add.at(x, [0, 0], 1) is None and x[0] == 3
    assert m.sum(axis=0, out=part) is part and np.sum(m, 0, None, part) is part
    plain = np.empty(2)
    assert m.sum(axis=0, out=plain) is plain and type(m.sum(axis=0)) is np.ndarray
    assert isinstance(x.sum(), np.float64) and isinstance(np.add.reduce(x), np.float64)
    assert type(np.add.outer(x, x)) is np.ndarray and type(-x) is np.ndarray
    with pytest.raises(TypeError):
        hash(x)
    with pytest.raises(TypeError):
        np.add(x, "text")
    with pytest.raises(ValueError):
        np.add(x, np.ones(3), out=x)


def test_structured_elements(shelf, reopen):
    import copy
    import pickle

    shelf.r = np.zeros(3, [("f", "f8"), ("p", "i4", 2), ("n", [("q", "i4")])])
    e = shelf.r[1]
    assert isinstance(e, np.void) and e.dtype == shelf.r.dtype and e == shelf.r[2] and "shelved" not in repr(e)
    e["f"] += 1
    e["p"][1] += 2
    e["n"]["q"] += 3
    e[0] += 1
    assert e.tolist()[0] == 2 and shelf.r[1]["p"].tolist() == [0, 2] and shelf.r["n"]["q"].tolist() == [0, 3, 0]
    for plain in (pickle.loads(pickle.dumps(e)), copy.copy(e), copy.deepcopy(e), e.copy()):
        assert type(plain) is np.void and plain.tolist()[0] == 2
    shelf.value = e
    assert shelf.value["f"] == 2
    for row in shelf.r:
        row["f"] += 1
    e.persist()
    del e, row
    s = reopen(shelf, "r")
    assert s.r["f"].tolist() == [1, 3, 1] and s.r[1]["n"]["q"] == 3
    with pytest.raises(ValueError):
        s.r[0]["f"] = 1
    s.close()


def test_flat(shelf):
    start = np.arange(12.0).reshape(3, 4)
    shelf.x = start
    x, flat = shelf.x, shelf.x.flat
    assert len(flat) == 12 and list(flat) == list(range(12)) and flat.base is x
    flat = x.T.flat
    assert flat[1] == 4 and flat.coords == (0, 0) and next(flat) == 0 and flat.index == 1 and flat[1:3].tolist() == [4, 8]
    x.T.flat[1] += 1
    x.T.flat[-1] += 1
    assert x[1, 0] == 5 and x[2, 3] == 12 and np.asarray(x.flat).tolist() == x.ravel().tolist()
    assert (x.flat == x.ravel()).all() and (x.flat >= 0).all() and x.flat.copy().shape == (12,)
    x.flat = 7
    assert (x == 7).all() and np.sum(x.flat) == 84
    with pytest.raises(IndexError):
        x.flat[12] += 1
