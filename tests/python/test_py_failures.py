"""Shelves whose files are shortened while they are open: errors where one can be raised, a message where not."""

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
