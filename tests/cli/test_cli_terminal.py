"""What differs on a terminal: progress bar, refusal of binary output, control characters."""

import os
import pty
import subprocess
import threading

import pytest

MIB = 1 << 20


def on_terminal(ctl, *args, streams=("stderr",), **kwargs):
    """Runs pymmctl with these streams on a new terminal; returns its status and what appeared."""
    ours, theirs = pty.openpty()
    shown = []

    def collect():
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # EIO: nobody holds the other side any more
                return
            if not data:
                return
            shown.append(data)

    reader = threading.Thread(target=collect)
    reader.start()
    kwargs = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **kwargs}
    kwargs |= {stream: theirs for stream in streams}
    process = subprocess.Popen(ctl.command(*args), **kwargs)
    os.close(theirs)
    return process, reader, shown


def finish(process, reader, shown):
    status = process.wait(timeout=120)
    reader.join(timeout=120)
    return status, b"".join(shown)


@pytest.fixture
def slow_put(ctl, shelf):
    """A put that lasts until a bar was drawn, or told not to draw one for as long."""

    def run(*options, wait_for_bar):
        process, reader, shown = on_terminal(
            ctl, *options, "put", f"{shelf}/x", stdin=subprocess.PIPE
        )
        # Pieces of 4 MiB are read at a time, and one that comes after half a second draws.
        sent = 0
        while sent < 12 * MIB if not wait_for_bar else not shown and sent < 10_000 * MIB:
            process.stdin.write(bytes(4 * MIB))
            sent += 4 * MIB
            threading.Event().wait(0.3)
        process.stdin.close()
        return finish(process, reader, shown)

    return run


def test_bar_for_a_pipe(slow_put):
    status, shown = slow_put(wait_for_bar=True)
    assert status == 0
    assert b"\rx  " in shown and b"MiB" in shown
    assert shown.endswith(b"\r\x1b[K"), "the line is cleared at the end"


def test_quiet(slow_put):
    assert slow_put("-q", wait_for_bar=False) == (0, b"")


def test_no_bar_without_a_terminal(ctl, shelf):
    ctl("put", f"{shelf}/x", input=bytes(9 * MIB))  # ctl() wants standard error empty


def test_arrays_are_not_printed_on_a_terminal(ctl, shelf):
    ctl("put", "--dtype", "u1", f"{shelf}/x", input=b"\x1b[31m")
    process, reader, shown = on_terminal(ctl, "get", f"{shelf}/x", streams=("stdout", "stderr"))
    status, shown = finish(process, reader, shown)
    assert status == 2 and b"terminal" in shown and b"\x1b" not in shown
    process, reader, shown = on_terminal(ctl, "get", f"{shelf}/x", "-", streams=("stdout",))
    status, shown = finish(process, reader, shown)
    assert status == 0 and b"\x1b[31m" in shown


def test_names_cannot_drive_the_terminal(ctl, shelf):
    name = "evil\x1b[31m\x9b2J\x07name"
    ctl("put", "--string", f"{shelf}/{name}", "x")
    for args in [["list", shelf], ["list", "-l", shelf], ["info", f"{shelf}/{name}"]]:
        process, reader, shown = on_terminal(ctl, *args, streams=("stdout",))
        status, shown = finish(process, reader, shown)
        assert status == 0 and b"evil?[31m?2J?name" in shown
    process, reader, shown = on_terminal(ctl, "cat", f"{shelf}/no\x1b[31m")
    status, shown = finish(process, reader, shown)
    assert status == 3 and b"no?[31m" in shown
    assert ctl.names(shelf) == [name]
