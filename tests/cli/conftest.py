"""Drives the real pymmctl: $PYMMCTL, else the one in PATH. Namespaces are made below
$PYMM_TEST_DIR if set, else below pytest's tmp_path."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

TIMEOUT = 120  # of one command: against hanging, not a measurement
WRITTEN = b"w" * (1 << 18)  # more than a pipe holds


class Ctl:
    """Runs pymmctl in one directory; what it printed is bytes."""

    def __init__(self, program, cwd):
        self.program = program
        self.cwd = cwd

    def command(self, *args):
        return [self.program, *(os.fspath(a) for a in args)]

    def run(self, *args, input=None, env=None, **kwargs):
        if input is None and "stdin" not in kwargs:
            kwargs["stdin"] = subprocess.DEVNULL
        if input is not None:
            kwargs["input"] = input
        if env is not None:
            env = {**os.environ, **env}
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        return subprocess.run(
            self.command(*args), cwd=self.cwd, env=env, timeout=TIMEOUT, **kwargs
        )

    def __call__(self, *args, **kwargs):
        """Must succeed and be silent on standard error; returns standard output."""
        done = self.run(*args, **kwargs)
        assert done.returncode == 0, (args, done.returncode, done.stderr)
        assert not done.stderr, (args, done.stderr)
        return done.stdout

    def fails(self, code, *args, **kwargs):
        """Must exit with `code`, tell why in one line, and print nothing; returns the line."""
        done = self.run(*args, **kwargs)
        message = done.stderr.decode(errors="surrogateescape")
        assert done.returncode == code, (args, done.returncode, message)
        assert message.startswith("pymmctl") and message.count("\n") == 1, message
        assert not done.stdout, done.stdout
        return message

    def json(self, *args, **kwargs):
        return json.loads(self(*args, "--json", **kwargs).decode())

    def names(self, path):
        """Names of the blobs or shelves there."""
        return [n.decode() for n in self("list", "-0", path).split(b"\0")[:-1]]


@pytest.fixture(scope="session")
def program():
    found = os.environ.get("PYMMCTL") or shutil.which("pymmctl")
    assert found, "no pymmctl: set PYMMCTL, or run through scripts/env"
    return os.path.abspath(found)


@pytest.fixture
def ns(tmp_path):
    """An empty namespace (pathlib.Path)."""
    base = os.environ.get("PYMM_TEST_DIR")
    if not base:
        path = tmp_path / "ns"
        path.mkdir()
        yield path
        return
    os.makedirs(base, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="cli-", dir=base))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def ctl(program, tmp_path):
    return Ctl(program, tmp_path)


@pytest.fixture
def shelf(ctl, ns):
    """Path of a new shelf 's', as text."""
    ctl("create", "-s", "32M", ns / "s")
    return f"{ns}/s"


@pytest.fixture
def writer(ctl):
    """writer(path): another process that holds the shelf for writing: it puts the blob `path`, has
    read WRITTEN of it, and waits for more."""
    running = []

    def start(path):
        process = subprocess.Popen(ctl.command("put", path, "-"), stdin=subprocess.PIPE)
        running.append(process)
        # It reads when it has opened the shelf, and this does not fit into the pipe.
        process.stdin.write(WRITTEN)
        process.stdin.flush()
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()
