"""Transactions: what belongs to them, what a rollback restores, and what is found after a SIGKILL."""

import io
import os
import threading

import killed
import numpy as np
import pytest

import pymm


def test_one_commit(shelf):
    shelf.x = np.zeros(1000)
    shelf.y = np.zeros((100, 100))
    shelf.old = "old"
    before = shelf._state.handle.stat()["sequence"]
    with shelf.transaction("x", shelf.y[10:20]) as tx:
        shelf.x += 1
        shelf.y[12] = 7
        shelf.step = 8
        shelf.new = np.arange(5)
        shelf.new[0] = 9
        del shelf.old
        assert shelf.items == ["new", "step", "x", "y"] and len(shelf) == 4
        assert shelf.step == 8 and "old" not in shelf and tx._changes.is_active
        committed = shelf._state.handle.stat()["sequence"]
        assert committed > before  # the journals'
    assert shelf._state.handle.stat()["sequence"] == committed + 1
    assert shelf.items == ["new", "step", "x", "y"]
    assert (shelf.x == 1).all() and (shelf.y[12] == 7).all() and shelf.new.tolist() == [9, 1, 2, 3, 4]
    # What was opened in the block is the variable, as ever.
    shelf.new += 1
    shelf.erase(shelf.new)
    shelf.step += 1
    shelf.erase(shelf.step)
    assert shelf.items == ["x", "y"]


@pytest.mark.parametrize("how", ["raise", "rollback"])
def test_rollback(shelf, how):
    shelf.x = np.arange(10000.0)
    shelf.small = np.arange(7)
    shelf.n = 5
    shelf.text = "text"
    x, small = shelf.x, shelf.small

    def change(tx):
        x[:] = 0
        x[5:7] *= 2
        shelf.small.fill(3)
        io.BytesIO(bytes(80)).readinto(memoryview(x)[:10].cast("B"))
        shelf.n += 1
        shelf.text = np.ones(3)
        shelf.more = [1, np.ones(2000)]
        shelf.rename("small", "renamed")
        assert shelf.n == 6
        if how == "raise":
            raise KeyboardInterrupt
        tx.rollback()
        assert not tx._changes.is_active

    if how == "raise":
        with pytest.raises(KeyboardInterrupt), shelf.transaction("x", "small") as tx:
            change(tx)
    else:
        with shelf.transaction("x", "small") as tx:
            change(tx)
            shelf.after = 1  # no part of it
        assert shelf.after == 1
        del shelf.after
    assert shelf.items == ["n", "small", "text", "x"]
    assert (x == np.arange(10000)).all() and (shelf.x == x).all()
    assert shelf.x.addr == x.addr
    assert small.tolist() == shelf.small.tolist() == list(range(7))
    assert shelf.n == 5 and shelf.text == "text"


def test_every_open_array(shelf):
    shelf.a, shelf.b, shelf.c = np.zeros(2000), np.zeros(2000), np.zeros(2000)
    a = shelf.a
    part = shelf.c[10:20]
    with pytest.raises(ZeroDivisionError), shelf.transaction():
        np.add(a, 1, out=a)
        shelf.b[3] = 3  # opened here
        part[...] = 4
        1 / 0
    assert not a.any() and not shelf.b.any() and not shelf.c.any()
    with shelf.transaction():
        a += 1
    assert (shelf.a == 1).all()


def test_ranges(shelf):
    """A part of an array takes part; what is stored beside it stays."""
    shelf.m = np.zeros((50, 60))
    shelf.structured = np.zeros(500, [("a", "i4"), ("b", "f8")])
    m = shelf.m
    with pytest.raises(ZeroDivisionError), shelf.transaction(m[10:20], m[::-5, ::-7][3:0:-1], shelf.structured["b"]) as tx:
        m[10:20] = 1
        m[45] = 2
        m[0] = 3
        shelf.structured["b"] = 4
        tx.add(m[2:3])
        m[2] = 5
        tx.add(m[0:0])
        1 / 0
    assert not m[10:20].any() and not shelf.structured["b"].any() and not m[2].any()
    assert (m[0] == 3).all()


def test_nested(shelf):
    shelf.x = np.zeros(1000)
    with shelf.transaction("x"):
        with shelf.transaction():
            shelf.x += 1
            shelf.n = 1
    assert shelf.n == 1
    with pytest.raises(pymm.InvalidArgument, match="inside this one"), shelf.transaction("x"):
        shelf.x += 1
        with pytest.raises(ZeroDivisionError), shelf.transaction():
            shelf.n = 2
            1 / 0
    assert shelf.n == 1 and (shelf.x == 1).all()


def test_seed_calls(shelf):
    shelf.x, shelf.y = np.zeros(1000), np.zeros(1000)
    shelf.tx_begin([shelf.x, "y"])
    shelf.x += 1
    shelf.y += 1
    shelf.tx_end()
    shelf.tx_begin_all()
    shelf.x += 1
    shelf.tx_end()
    shelf.tx_begin("x").rollback()
    shelf.tx_end()
    shelf.tx_begin()
    shelf.n = 1
    shelf.tx_end()
    assert (shelf.x == 2).all() and (shelf.y == 1).all() and shelf.n == 1
    with pytest.raises(pymm.InvalidArgument, match="tx_begin"):
        shelf.tx_end()


def test_refused(shelf):
    shelf.x = np.zeros(100)
    shelf.n = 5
    former = shelf.x
    shelf.x = np.ones(100)
    other = np.zeros(5)
    for wrong, error in [
        ("nothing", KeyError),
        ("a//b", KeyError),
        (other, pymm.InvalidArgument),
        (former, pymm.InvalidArgument),
        (3, TypeError),
        (None, TypeError),
    ]:
        with pytest.raises(error), shelf.transaction("x", wrong):
            raise AssertionError("the block is not entered")
    with shelf.transaction(shelf.n, "n"):  # values are replaced, so there is nothing to save of them
        shelf.n += 1
        with pytest.raises(pymm.InvalidArgument):
            shelf.seal("x")
    assert shelf.n == 6
    once = shelf.transaction()
    with once, pytest.raises(pymm.InvalidArgument):
        once.__enter__()
    with pytest.raises(pymm.InvalidArgument):
        shelf.transaction().rollback()
    with pytest.raises(pymm.ClosedError, match="rolled back"), shelf.transaction("x"):
        shelf.x += 1
        shelf.close()
    with pymm.shelf("test", shelf._state.path) as again:
        assert (again.x == 1).all()


def test_no_space(shelf):
    shelf.x = np.zeros(9 << 17)  # 9 of 16 MiB
    with pytest.raises(pymm.NoSpaceError), shelf.transaction("x"):
        raise AssertionError("the block is not entered")
    with shelf.transaction(shelf.x[:1000]):
        shelf.x[:1000] += 1
    assert shelf.x[:1001].sum() == 1000


def test_threads(shelf):
    shelf.x, shelf.y = np.zeros((8, 50_000)), np.zeros(10)
    failed = []

    def store(i):
        shelf.x[i] = i + 1

    def elsewhere():
        for change in (
            lambda: setattr(shelf, "x", 1),
            lambda: delattr(shelf, "n"),
            lambda: shelf.transaction().__enter__(),
        ):
            try:
                change()
            except BlockingIOError:
                failed.append(1)
        shelf.theirs = 1

    with shelf.transaction("x") as tx:
        shelf.n = 1
        threads = [threading.Thread(target=store, args=(i,)) for i in range(8)] + [threading.Thread(target=elsewhere)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shelf.x[7, 5] == 8
        tx.rollback()
    assert len(failed) == 3 and not shelf.x.any() and shelf.items == ["theirs", "x", "y"]


def test_torch(shelf):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    shelf.w = torch.ones(1000, requires_grad=True)
    shelf.v = torch.ones(100, 50)
    w = shelf.w
    optimizer = torch.optim.SGD([w], lr=0.5)
    for commit in (False, True):
        try:
            with shelf.transaction(shelf.v[10:20]) as tx:
                tx.add(w)
                (w * 2).sum().backward()
                optimizer.step()
                optimizer.zero_grad()
                shelf.v[10:20].add_(1)
                shelf.state = {"step": torch.zeros(3)}
                if not commit:
                    1 / 0
        except ZeroDivisionError:
            assert (w == 1).all() and (shelf.v == 1).all() and "state" not in shelf
    assert (shelf.w == 0).all() and (shelf.v[10:20] == 2).all() and "state" in shelf


def test_tensors_that_nobody_may_store_to(shelf):
    """As arrays: they take part, and there is nothing to save."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    shelf.w, shelf.c = torch.ones(1000), [torch.ones(1000), np.ones(1000)]
    shelf.seal("w")
    with shelf.transaction(shelf.w, shelf.w[10:20], shelf.c[0], shelf.c[1]) as tx:
        tx.add(shelf.c[0][5:])
        shelf.n = 1
    assert shelf.n == 1 and (shelf.w == 1).all()


def test_other_kinds_of_change(shelf):
    shelf.a = np.arange(10_000.0)
    with pytest.raises(ZeroDivisionError), shelf.transaction("a"):
        with shelf.batch() as batch:
            batch["b"] = 1
            batch["c"] = np.ones(5)
        with shelf.arena():
            shelf.d = shelf.a + 1
        shelf.copy("a", "e")
        shelf.save({"x": [1, shelf.a]}, "model")
        assert shelf.load("model")["x"][0] == 1
        assert len(shelf) == 6
        shelf["with/slash"] = "x"
        1 / 0
    assert shelf.items == ["a"]
    with shelf.transaction("a"):
        shelf.save({"x": [2, shelf.a]}, "model")
        with shelf.arena():
            shelf.d = shelf.a + 1
    assert shelf.load("model")["x"][0] == 2 and shelf.d[5] == 6


def test_lists_and_appended_arrays(shelf, twice):
    shelf.l = pymm.linked_list()
    shelf.l.append(1)
    shelf.a = pymm.ndarray((0, 3), maxshape=(None, 3))
    shelf.a.append(np.ones((2, 3)))
    for commit in (False, True):
        try:
            with shelf.transaction():
                for i in range(200):
                    shelf.l.append([i, np.arange(5)])
                    shelf.a.append(np.full((1, 3), i))
                shelf.l[0] = "x"
                shelf.a[0] = 7
                del shelf.l[-1]
                assert len(shelf.l) == 200 and shelf.a.shape == (202, 3)
                if not commit:
                    1 / 0
        except ZeroDivisionError:
            assert list(shelf.l) == [1] and shelf.a.tolist() == [[1] * 3] * 2
    for s in twice():
        assert s.l[0] == "x" and s.l[199][0] == 198 and len(s.l) == 200
        assert s.a[0].tolist() == [7] * 3 and s.a[-1].tolist() == [199] * 3
        s.l.append("more")
        del s.l[-1]
    assert pymm.fsck(shelf._state.path, "test").clean


PROGRAM = """
import sys
import numpy as np
import pymm
s = pymm.shelf("test", sys.argv[1])
n = int(s.n)
x, y = s.x, s.y
while True:
    n += 1
    with s.transaction(x, y[::2] if n % 3 else "y"):
        x += 1
        s.n = n
        y[::2] += 1
        s.rename(f"at{n - 1}", f"at{n}")
        if n % 5 == 0:
            s.z = np.full(3000, n)
    print(n, flush=True)
"""


def test_killed(namespace):
    """What is printed is there; what was under way is there whole, or not at all."""
    with pymm.shelf("test", namespace, size_mb=8) as s:
        s.x, s.y, s.n, s.at0, s.z = np.zeros(20_000, int), np.zeros(50, int), 0, "", np.zeros(3000, int)
    said = 0
    for more in (1, 2, 5, 20, 40):
        said = killed.acknowledged(PROGRAM, namespace, said + more)
        found = None
        for mode in ("r", "a"):  # the second undoes what the first only does not show
            with pymm.shelf("test", namespace, mode=mode) as s:
                n = int(s.n)
                assert n in (said, said + 1) and found in (None, n)
                assert (s.x == n).all() and (s.y[::2] == n).all() and not s.y[1::2].any()
                assert s.items == [f"at{n}", "n", "x", "y", "z"] and len(s) == 5
                assert (s.z == n // 5 * 5).all()
                found = n
        said = found
        assert pymm.fsck(namespace, "test").clean


def test_fork(shelf):
    shelf.x = np.zeros(1000)
    with shelf.transaction("x") as tx:
        shelf.x += 1
        child = os.fork()
        if child == 0:
            code = 1
            try:
                tx.__exit__(ValueError, None, None)  # the parent's: nothing happens to it
                code = 0
            except pymm.Error:
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        shelf.n = 1
    assert (shelf.x == 1).all() and shelf.n == 1
