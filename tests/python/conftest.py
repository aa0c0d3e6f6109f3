"""Namespaces are made below $PYMM_TEST_DIR if set, else below pytest's tmp_path."""

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap

import pytest

import pymm

TIMEOUT = 120  # of one child process: against hanging, not a measurement


@pytest.fixture
def namespace(tmp_path):
    """Path of an empty namespace."""
    base = os.environ.get("PYMM_TEST_DIR")
    if not base:
        path = tmp_path / "namespace"
        path.mkdir()
        yield str(path)
        return
    path = tempfile.mkdtemp(prefix="pymm-python-", dir=base)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def shelf(namespace):
    """An open shelf of 16 MiB."""
    s = pymm.shelf("test", pmem_path=namespace, size_mb=16)
    yield s
    s.close()


@pytest.fixture
def reopen(namespace):
    """Closes a shelf and opens it again, so that nothing comes from memory."""

    def again(s, mode="a"):
        name = s.name
        s.close()
        return pymm.shelf(name, pmem_path=namespace, mode=mode)

    return again


@pytest.fixture
def twice(shelf, reopen):
    """The open shelf, and then the same one opened again: for s in twice()."""

    def each():
        yield shelf
        s = reopen(shelf)
        yield s
        s.close()

    return each


class Child:
    """Another Python process."""

    def __init__(self, code, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self):
        return self.process.stdout.readline().strip()

    def tell(self, text=""):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def kill(self):
        """SIGKILL; gives the complete lines that it had printed beyond those read. Not communicate(): that
        forgets what readline() has buffered."""
        self.process.kill()
        rest = self.process.stdout.read()
        self.process.wait(timeout=TIMEOUT)
        return rest[: rest.rfind("\n") + 1].splitlines()

    def finish(self):
        out, _ = self.process.communicate(timeout=TIMEOUT)
        assert self.process.returncode == 0
        return out.strip()


@pytest.fixture
def child():
    """Starts another Python process: child(code, *arguments)."""
    children = []

    def start(code, *arguments):
        children.append(Child(code, *arguments))
        return children[-1]

    yield start
    for one in children:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()
