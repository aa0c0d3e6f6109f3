"""Shelves whose files are shortened while they are open: errors where one can be raised, a message where not."""

import errno
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import pymm


def test_values_of_a_shortened_file(shelf, namespace):
    shelf.text = "t" * 50_000
    shelf.raw = b"r" * 50_000
    shelf.x = np.arange(1000)
    shelf._forget_all()
    os.truncate(f"{namespace}/test.data", 4096)
    for name in ("text", "raw"):
        with pytest.raises(pymm.IoError, match=f"blob '{name}' at its byte") as caught:
            shelf[name]
        assert "test.data" in str(caught.value) and "shortened" in str(caught.value)
    with pytest.raises(pymm.IoError, match="blob 'x'|test.data"):
        shelf.seal("x")
    os.truncate(f"{namespace}/test.data", 16 << 20)


@pytest.mark.parametrize("when", ["never", "before", "after"])
def test_a_load_ends_with_a_message(namespace, when):
    """Before or after the shelf is opened, faulthandler.enable() keeps working."""
    code = f"""
        import faulthandler, os, resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        import numpy as np, pymm
        if {when!r} == "before": faulthandler.enable()
        s = pymm.shelf("s", pmem_path={namespace!r}, size_mb=16)
        s.x = np.ones(1 << 20)
        if {when!r} == "after": faulthandler.enable()
        os.truncate({namespace + "/s.data"!r}, 1 << 20)
        print(s.x[-1])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGBUS, done
    assert ("Fatal Python error: Bus error" in done.stderr) == (when != "never")
    assert done.stderr.count("Fatal Python error") <= 1
    if when != "after":
        # A handler installed above ours hides the address from it.
        assert "shelf 's', blob 'x' at offset" in done.stderr
        assert "s.data at offset" in done.stderr


# --- messages say what was wrong, and what to do --------------------------------------------------


def test_arguments_of_a_shelf(namespace):
    with pytest.raises(TypeError, match="size_mb.*not str"):
        pymm.shelf("t", pmem_path=namespace, size_mb="64")
    for size in (0, -1, float("nan"), float("inf")):
        with pytest.raises(pymm.InvalidArgument, match="size_mb"):
            pymm.shelf("t", pmem_path=namespace, size_mb=size)
    with pytest.raises(TypeError, match="name of a shelf is a str, not int"):
        pymm.shelf(3, pmem_path=namespace)
    for path in (3, b"bytes"):
        with pytest.raises(TypeError, match="pmem_path is (int|bytes)"):
            pymm.shelf("t", pmem_path=path)
    assert pymm.fsck(namespace).shelves == ()
    pymm.shelf("t", pmem_path=namespace, size_mb=np.float32(8)).close()


def test_making_anew_what_this_process_uses(namespace, child):
    s = pymm.shelf("t", pmem_path=namespace, size_mb=8)
    s.x = np.zeros(3)
    view = s.x
    for _ in range(2):
        with pytest.raises(pymm.BusyError, match="arrays of it are still in use in this process.*`_`") as caught:
            pymm.shelf("t", pmem_path=namespace, size_mb=8, force_new=True)
        assert caught.value.errno == errno.EAGAIN
    code = """
        import sys, pymm
        try:
            pymm.shelf("t", pmem_path=sys.argv[1], force_new=True)
        except pymm.BusyError as error:
            print("in this process" in str(error))
    """
    assert child(code, namespace).finish() == "False"
    del view
    s = pymm.shelf("t", pmem_path=namespace, size_mb=8, force_new=True)
    assert s.items == []
    s.close()


def test_fsck_of_a_shelf_s_path(namespace):
    pymm.shelf("t", pmem_path=namespace, size_mb=8).close()
    with pytest.raises(pymm.NotFound, match="is a shelf.*name='t'") as caught:
        pymm.fsck(namespace + "/t")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(pymm.NotFound, match="no such directory"):
        pymm.fsck(namespace + "/u")
