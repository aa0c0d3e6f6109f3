"""Programs that are killed with SIGKILL in the middle of what they do."""

import os
import signal
import subprocess
import sys


def acknowledged(program, namespace, after):
    """Runs Python code, with the namespace as its argument, that prints the numbers 1, 2 ... each when it is done with
    something, kills it once it has come to `after`, and returns the last number that it printed."""
    child = subprocess.Popen([sys.executable, "-c", program, namespace], stdout=subprocess.PIPE, text=True)
    last = 0
    for line in child.stdout:
        last = int(line)
        if last >= after:
            os.kill(child.pid, signal.SIGKILL)
            break
    # A last line may be torn; then its number was not said.
    rest = child.stdout.read().split("\n")[:-1]
    assert child.wait() == -signal.SIGKILL
    return int(rest[-1]) if rest else last
