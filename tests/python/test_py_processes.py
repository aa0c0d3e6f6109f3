"""Several processes: writer and readers, a second writer, fork, SIGKILL."""

import os
import random
import signal
import sys
import threading
import time

import numpy as np
import pytest

import pymm

ROUNDS = 40 if os.environ.get("PYMM_TEST_LONG") else 6


def test_a_second_writer_is_refused(namespace, child):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.a = np.arange(3)
    code = """
        import sys, pymm
        for arguments in ({}, {"force_new": True}, {"mode": "r+"}):
            try:
                pymm.shelf("x", pmem_path=sys.argv[1], **arguments)
            except pymm.BusyError as error:
                assert isinstance(error, BlockingIOError) and "x" in str(error)
                print("busy")
    """
    assert child(code, namespace).finish().split() == ["busy"] * 3
    assert s.a.tolist() == [0, 1, 2]
    s.close()
    assert child(code, namespace).finish() == ""


def test_the_lock_is_held_until_the_last_view_is_gone(namespace, child):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.a = np.arange(3)
    view = s.a
    s.close()
    code = """
        import sys, pymm
        try:
            pymm.shelf("x", pmem_path=sys.argv[1]).close()
            print("opened")
        except pymm.BusyError:
            print("busy")
    """
    assert child(code, namespace).finish() == "busy"
    del view
    assert child(code, namespace).finish() == "opened"


def test_a_reader_while_the_writer_lives(namespace, child):
    code = """
        import sys, numpy as np, pymm
        s = pymm.shelf("x", pmem_path=sys.argv[1], mode="r")
        old, text = s.a, s.t
        assert old.tolist() == [0, 1, 2] and text == "one" and not old.flags.writeable
        for action in (
            lambda: setattr(s, "a", 1), lambda: s.erase("a"), lambda: s.rename("a", "b"), lambda: s.batch(),
            lambda: setattr(s, "a", np.zeros(3)), lambda: setattr(s, "z", pymm.ndarray(3)),
        ):
            try:
                action()
                print("changed")
            except pymm.ReadOnlyError as error:
                assert isinstance(error, PermissionError)
        try:
            old += 1
            print("stored")
        except ValueError:
            pass
        print("ready", flush=True)
        input()
        assert s.a.tolist() == [7, 7] and s.t == "two" and s.items == ["a", "c", "t"], repr(s)
        assert old.tolist() == [0, 1, 2] and text == "one"  # pinned, not reused
        assert s.a is not s.a
        print("seen", flush=True)
        input()
        try:
            s.a
            print("still there")
        except AttributeError:
            print("gone")
    """
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.a, s.t = np.arange(3), "one"
    reader = child(code, namespace)
    assert reader.line() == "ready"
    with s.batch() as batch:
        batch["a"], batch["t"], batch["c"] = np.full(2, 7), "two", 1
    for i in range(50):  # would take the space of what the reader looks at
        s.filler = np.full(1000, i)
    del s.filler
    reader.tell()
    assert reader.line() == "seen"
    del s.a
    reader.tell()
    assert reader.finish() == "gone"
    s.close()


def test_reading_and_writing_in_one_process(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.a = np.arange(3)
    r = pymm.shelf("x", pmem_path=namespace, mode="r")
    assert r is not s and r.a.tolist() == [0, 1, 2] and not r.a.flags.writeable
    s.a += 1
    s.b = 5
    assert r.a.tolist() == [1, 2, 3] and r.b == 5
    assert pymm.shelf("x", pmem_path=namespace, mode="r") is r
    assert pymm.shelf("x", pmem_path=namespace) is s
    r.close()
    s.b = 6
    s.close()


def test_a_forked_child_is_told(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.a = np.arange(3)
    view = s.a
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for action in (lambda: s["t"], lambda: setattr(s, "a", 1), lambda: view.persist(), lambda: s.persist()):
                try:
                    action()
                    os._exit(2)
                except pymm.ClosedError:
                    pass
            try:
                view += 1
            except pymm.ClosedError:
                pass
            s.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert s.a.tolist() == [0, 1, 2]
    s.a += 1
    s.b = 2
    s.close()


def test_a_fork_beside_a_thread_that_persists(namespace):
    """The child is told at once: what the other thread held at the fork, it holds for ever there."""
    s = pymm.shelf("x", pmem_path=namespace, size_mb=64)
    s.a = np.zeros(1_000_000)
    a, stop = s.a, False

    def work():
        while not stop:
            a.persist()

    thread = threading.Thread(target=work)
    thread.start()

    def element():
        a[0] += 1

    actions = (a.persist, lambda: a.__iadd__(1), element, lambda: a[:5].fill(1))
    try:
        for i in range(24):
            pid = os.fork()
            if pid == 0:
                signal.alarm(60)  # what hangs is ended
                try:
                    actions[i % 4]()
                except pymm.ClosedError as error:
                    message = str(error)
                    if "'a'" in message and "parent" in message and "persist" not in message:
                        os._exit(0)
                os._exit(1)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop = True
        thread.join()
    # The parent's shelf is as it was, and a shelf that the child opens is its own.
    s.a += 1
    pid = os.fork()
    if pid == 0:
        try:
            with pymm.shelf("child", pmem_path=namespace, size_mb=8) as own:
                own.b = np.zeros(3)
                own.b += 1
                own.b.persist()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    s.close()


WRITER = """
    import sys, numpy as np, pymm
    s = pymm.shelf("x", pmem_path=sys.argv[1], size_mb=32)
    k = int(s.k) if "k" in s else 0
    rng = np.random.default_rng(k)
    while True:
        k += 1
        size = int(rng.integers(1, 60_000))
        s.a = np.full(size, k)                  # replaced, as a whole
        print("a", k, flush=True)
        with s.batch() as b:                    # two that belong together
            b["l"] = np.full(100, k)
            b["r"] = np.full(5000, k)
        print("b", k, flush=True)
        if "c" not in s:
            s.c = pymm.ndarray(64, dtype=np.int64)
        s.c += 1                                # in place
        print("c", k, flush=True)
        s.rename("a", "moved", replace=True)
        print("m", k, flush=True)
        s.t = "text %d" % k
        s.k = k
        print("k", k, flush=True)
"""


def test_sigkill(namespace, child):
    seed = random.randrange(1 << 30)
    rng = random.Random(seed)
    for round_ in range(ROUNDS):
        writer = child(WRITER, namespace)
        done = {}
        for _ in range(rng.randrange(1, 150)):
            what, k = writer.line().split()
            done[what] = int(k)
        time.sleep(rng.random() * 0.003)
        for line in writer.kill():
            what, k = line.split()
            done[what] = int(k)
        context = f"seed {seed}, round {round_}, acknowledged {done}"
        with pymm.shelf("x", pmem_path=namespace) as s:
            for name, what in (("l", "b"), ("r", "b"), ("moved", "m"), ("k", "k")):
                if what in done:
                    value = s[name]
                    got = int(np.ravel(value)[0])
                    assert (np.asarray(value) == got).all(), context
                    assert done[what] <= got <= done[what] + 1, (name, got, context)
            if "a" in s:
                assert (s.a == s.a[0]).all(), context
            if "b" in done:
                assert s.l[0] == s.r[0], context
            if "c" in done:
                # In place is durable, not atomic: each element is the old or the new one.
                assert set(np.unique(s.c)) <= {s.c.min(), s.c.min() + 1}, context
                # Every round may have added at most one increment that was not acknowledged.
                assert s.c.min() >= done["c"] - round_ - 1, context
            if "k" in done:
                assert s.t in (f"text {s.k}", f"text {s.k + 1}"), context
            assert s.used < 30, context


def test_sigkill_while_putting_a_large_array(namespace, child):
    code = """
        import sys, numpy as np, pymm
        s = pymm.shelf("x", pmem_path=sys.argv[1], size_mb=64)
        k = int(s.big[0]) if "big" in s else 0
        while True:
            k += 1
            s.big = np.full(2_000_000, k)
            print(k, flush=True)
    """
    rng = random.Random()
    for _ in range(ROUNDS):
        writer = child(code, namespace)
        for _ in range(rng.randrange(1, 4)):
            k = int(writer.line())
        time.sleep(rng.random() * 0.02)
        k = max([k, *map(int, writer.kill())])
        with pymm.shelf("x", pmem_path=namespace) as s:
            assert (s.big == s.big[0]).all() and k <= s.big[0] <= k + 1
            assert s.used < 30


def test_a_process_that_does_not_close(namespace, child):
    """Neither close() nor `with`: the interpreter's end closes it, views included."""
    code = """
        import sys, numpy as np, pymm
        s = pymm.shelf("x", pmem_path=sys.argv[1], size_mb=8)
        s.a = np.zeros(100_000)
        view = s.a
        view[:] = 5
    """
    child(code, namespace).finish()
    with pymm.shelf("x", pmem_path=namespace) as s:
        assert (s.a == 5).all()


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_gil_is_released_while_copying(namespace):
    import threading

    s = pymm.shelf("x", pmem_path=namespace, size_mb=256)
    value = np.zeros(12 << 20)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.0005)

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    s.big = value
    end = time.perf_counter()
    stop.set()
    thread.join()
    s.close()
    during = [t for t in ticks if start < t < end]
    assert len(during) >= 3, f"{len(during)} ticks in {end - start:.3f} s"
