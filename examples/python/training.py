"""Trains a small network, is killed in mid-epoch, and goes on to the bit.

Usage: scripts/env python examples/python/training.py [DIRECTORY]

The network learns scikit-learn's handwritten digits. Every few steps one line saves it, its optimizer and where it is in
the data as a checkpoint on a shelf: one commit, so that a kill at any moment leaves the last checkpoint or the next,
never a mixture. The training runs twice: undisturbed; and killed with SIGKILL again and again, each time resumed from
the shelf by a new process. Then model and optimizer of both are compared, bit by bit.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

import pymm

try:
    import torch
except ImportError:
    print("skipped: this example trains with PyTorch, which is not installed")
    sys.exit(0)

EPOCHS = 6
BATCH = 32
EVERY = 5  # steps from one checkpoint to the next


def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images / 16.0, dtype=torch.float32)
    return images.reshape(len(images), -1), torch.tensor(data.target)


def train(directory, name):
    """From the checkpoint where there is one, else from the beginning; says each one that is saved."""
    torch.set_num_threads(1)  # the order of sums is part of the result
    torch.manual_seed(1)
    images, labels = digits()
    model = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    steps = len(images) // BATCH
    step = 0
    with pymm.shelf(name, pmem_path=directory, size_mb=16) as s:
        if s.checkpoints("digits"):
            found = s.load("digits")
            model.load_state_dict(found["model"])
            optimizer.load_state_dict(found["optimizer"])
            step = found["step"]
        while step < EPOCHS * steps:
            epoch, at = divmod(step, steps)
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
            chosen = order[at * BATCH : (at + 1) * BATCH]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            step += 1
            if step % EVERY == 0 or step == EPOCHS * steps:
                s.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, "digits")
                print(step, flush=True)
        right = (model(images).argmax(1) == labels).float().mean().item()
        s.accuracy = right


def weights(directory, name):
    with pymm.shelf(name, pmem_path=directory, mode="r") as s:
        return s.load("digits"), s.accuracy


def killed_and_resumed(directory, name):
    """Runs the training in processes that are killed, until one comes to its end. The number of kills."""
    kills = 0
    acknowledged = 0
    while True:
        command = [sys.executable, os.path.abspath(__file__), directory, name]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        first = True
        for line in child.stdout:
            if first:
                # What was acknowledged before the kill is where it went on.
                assert int(line) in (acknowledged + EVERY, acknowledged + 2 * EVERY) or int(line) % EVERY, line
                first = False
            acknowledged = int(line)
            if kills < 4 and acknowledged >= (kills + 1) * 60:
                time.sleep(random.random() * 0.01)
                child.send_signal(signal.SIGKILL)
                acknowledged = max([acknowledged] + [int(rest) for rest in child.stdout if rest.strip().isdigit()])
                kills += 1
                break
        if child.wait() == 0:
            return kills
        assert child.returncode == -signal.SIGKILL, child.returncode


def same(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.all(one == other))


def main(directory):
    start = time.monotonic()
    subprocess.run([sys.executable, os.path.abspath(__file__), directory, "undisturbed"], check=True, stdout=subprocess.DEVNULL)
    kills = killed_and_resumed(directory, "killed")
    (expected, accuracy), (found, _) = weights(directory, "undisturbed"), weights(directory, "killed")
    assert same(expected, found), "the weights differ"
    parameters = sum(value.numel() for value in expected["model"].values())
    print(f"{expected['step']} steps, {parameters} parameters, {accuracy:.1%} of the digits right")
    print(f"killed {kills} times and resumed: model and optimizer are the same to the bit ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        train(*sys.argv[1:])
    elif len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        made = tempfile.mkdtemp(prefix="pymm-training-")
        try:
            main(made)
        finally:
            shutil.rmtree(made)
