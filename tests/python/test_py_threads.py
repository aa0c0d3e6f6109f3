"""Threads that share a shelf: what one assigns the others find, and nothing older ever after."""

import sys
import threading

import numpy as np
import pymm
import pytest


@pytest.fixture
def eager():
    """Threads take turns often, so that a race is met within a second."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Loop:
    """Runs `work` in threads until the block ends; raises what it raised."""

    def __init__(self, work, threads=2):
        self.stop = False
        self.errors = []
        self.work = work
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        try:
            while not self.stop:
                self.work()
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()

    def __exit__(self, *_):
        self.stop = True
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]


@pytest.mark.parametrize("read", [lambda s: s.v, lambda s: s["v"]], ids=["attribute", "item"])
def test_the_last_assigned_array_is_found_and_stored_to(shelf, eager, read):
    shelf.v = np.zeros(10)
    for _ in range(60):
        with Loop(lambda: read(shelf)):
            for i in range(15):
                shelf.v = np.full(10, i)
        assert read(shelf)[0] == 14
        shelf.v[1] = -1
        shelf.v.persist()
        shelf._forget_all()
        assert list(shelf.v[:3]) == [14, -1, 14]


@pytest.mark.parametrize("read", [lambda s: s.v, lambda s: s["v"]], ids=["attribute", "item"])
def test_a_variable_that_is_replaced_is_never_missing(shelf, eager, read):
    shelf.v = 0
    shelf.other = 1
    seen = []

    def look():
        seen.append(read(shelf))
        assert shelf.other == 1

    for _ in range(60):
        with Loop(look):
            for i in range(15):
                shelf.v = i
        assert shelf.v == 14
    assert set(seen) <= set(range(15))


def test_names_come_and_go_under_readers(shelf, eager):
    shelf.stays = np.arange(3)
    shelf.a = 1
    with Loop(lambda: shelf.stays.sum()):
        for i in range(300):
            shelf["n"] = i
            shelf.rename("n", "m", replace=True)
            assert shelf.m == i
            with shelf.batch() as b:
                b["n"] = np.full(2, i)
                del b["m"]
            assert shelf.n[1] == i and "m" not in shelf
            with pytest.raises(AttributeError):
                shelf.m
            del shelf.n
            with pytest.raises(AttributeError):
                shelf.n
    assert shelf.items == ["a", "stays"]


def test_what_is_loaded_during_a_change_is_not_kept(shelf):
    # The same race without chance: the old value arrives when the new one is there.
    shelf.v = np.zeros(2)
    shelf.unopened = 0
    shelf._forget_all()
    stamp = shelf._stamp()
    old = shelf.v
    shelf.v = np.ones(2)
    shelf._remember("v", old, stamp)
    assert shelf._opened("v") is None and shelf.v[0] == 1

    shelf._begin()
    stamp = shelf._stamp()
    shelf._remember("v", old, stamp)
    shelf._complete(len(shelf.__dict__), stamp)
    assert shelf._opened("v") is not old and type(shelf) is pymm.shelf
    shelf._end("v")
    shelf._complete(len(shelf.__dict__), stamp)
    assert type(shelf) is pymm.shelf
    assert shelf.v[0] == 1 and shelf.unopened == 0
    assert type(shelf) is not pymm.shelf  # now they are all open


def test_a_shelf_that_is_closed_by_another_thread(shelf, eager):
    shelf.v = np.arange(4)

    def look():
        try:
            assert shelf.v[3] == 3
        except pymm.ClosedError:
            pass

    for _ in range(30):
        with Loop(look):
            shelf.close()
            again = pymm.shelf(shelf.name, shelf._state.path)
        assert again.v[3] == 3
        shelf = again
