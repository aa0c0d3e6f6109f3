"""Bash completion, driven as readline drives it."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/pymmctl/completion/pymmctl.bash"

# Splits as readline does: at blanks and at ':' and '=', which stay words; quotes keep together.
DRIVER = r"""
compopt() { options+=("$@"); }
source "$1"
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
shift 2
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
options=()
_pymmctl pymmctl
printf '%s\0' "${COMPREPLY[@]}"
"""


def readline_words(line):
    words, word, quote, i = [], "", "", 0
    while i < len(line):
        c = line[i]
        if quote:
            word += c
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
            word += c
        elif c == "\\":
            word += line[i : i + 2]
            i += 1
        elif c == " ":
            if word:
                words.append(word)
            word = ""
        elif c in ":=":
            if word:
                words.append(word)
            words.append(c)
            word = ""
        else:
            word += c
        i += 1
    # A separator under the cursor is itself the word to complete.
    if word or not words or words[-1] not in ":=" or line.endswith(" "):
        words.append(word)
    return words


@pytest.fixture
def complete(ctl, ns):
    def run(line):
        path = f"{Path(ctl.program).parent}:/usr/bin:/bin"
        done = subprocess.run(
            ["bash", "-c", DRIVER, "bash", SCRIPT, line, *readline_words(line)],
            cwd=ns,
            env={"PATH": path, "HOME": os.fspath(ns), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return [c for c in done.stdout.split("\0") if c]

    return run


@pytest.fixture
def tree(ctl, ns):
    (ns / "dir").mkdir()
    (ns / "dir with space").mkdir()
    ctl("create", "--sparse", ns / "shelf")
    ctl("create", "--sparse", ns / "dir" / "inner")
    for name in ["model/conv1/bias", "model/conv1/weight", "model/fc", "my blob", "name:tag", "ünï", "it's"]:
        ctl("put", "--string", f"{ns}/shelf/{name}", "x")
    (ns / "file.npy").write_bytes(b"")
    return ns


def test_commands(complete):
    commands = {"create", "list", "erase", "info", "put", "get", "cat", "mv", "cp", "df", "seal", "fsck", "map", "dump"}
    assert set(complete("pymmctl ")) >= commands
    assert complete("pymmctl in") == ["info"]
    assert "complete" not in complete("pymmctl c")
    assert complete("pymmctl --ver") == ["--version", "--verbose"]


def test_options(complete):
    assert complete("pymmctl create --s") == ["--size", "--sparse"]
    assert complete("pymmctl put --no") == ["--no-replace"]
    assert complete("pymmctl ls --lo") == ["--long"]
    assert complete("pymmctl get --format ") == ["auto", "npy", "raw", "safetensors", "text"]
    assert complete("pymmctl put --format ") == ["auto", "npy", "raw", "safetensors"]
    assert complete("pymmctl put --dtype float3") == ["float32"]
    assert complete("pymmctl put --order ") == ["C", "F"]


def test_directories_and_shelves(complete, tree):
    assert sorted(complete("pymmctl list ")) == ["dir with space/", "dir/", "shelf", "shelf/"]
    assert sorted(complete("pymmctl cat ")) == ["dir with space/", "dir/", "shelf/"]
    assert sorted(complete("pymmctl df ")) == ["dir with space/", "dir/", "shelf"]
    assert sorted(complete("pymmctl fsck ")) == sorted(complete("pymmctl df "))
    assert sorted(complete("pymmctl map --width 40 ")) == sorted(complete("pymmctl df "))
    assert complete("pymmctl map --width ") == []
    assert sorted(complete("pymmctl create ")) == ["dir with space/", "dir/"]
    assert complete("pymmctl cat dir/") == ["dir/inner/"]
    assert complete(f"pymmctl cat {tree}/dir/in") == [f"{tree}/dir/inner/"]


def test_blobs(complete, tree):
    everything = ["it's", "model/", "my blob", "name:tag", "ünï"]
    assert complete("pymmctl cat shelf/") == [f"shelf/{n}" for n in everything]
    assert complete("pymmctl cat shelf/mo") == ["shelf/model/"]
    assert complete("pymmctl cat shelf/model/") == ["shelf/model/conv1/", "shelf/model/fc"]
    assert complete("pymmctl cat shelf/model/conv1/w") == ["shelf/model/conv1/weight"]
    assert complete("pymmctl cat shelf/zzz") == []
    assert complete("pymmctl cat shelf/model/fc shelf/ü") == ["shelf/ünï"]
    for command in ["put", "get", "info", "list", "mv", "cp", "erase", "rm", "seal"]:
        assert complete(f"pymmctl {command} shelf/my") == ["shelf/my blob"], command


def test_second_operands(complete, tree):
    assert complete("pymmctl get shelf/model/fc fi") == ["file.npy"]
    assert complete("pymmctl put shelf/x fi") == ["file.npy"]
    assert complete("pymmctl put --dtype float64 shelf/x fi") == ["file.npy"]
    assert complete("pymmctl mv shelf/x shelf/my") == ["shelf/my blob"]
    assert complete("pymmctl mv shelf/x shelf/y shelf/") == []


def test_quoting(complete, tree):
    """Candidates are plain: readline quotes them, as for file names."""
    for typed in [r"shelf/my\ b", '"shelf/my b', "'shelf/my b", '"shelf"/my\\ b']:
        assert complete(f"pymmctl cat {typed}") == ["shelf/my blob"], typed
    for typed in [r"shelf/it\'", '"shelf/it\'']:
        assert complete(f"pymmctl cat {typed}") == ["shelf/it's"], typed
    assert complete(r"pymmctl cat dir\ wi") == ["dir with space/"]


def test_colon(complete, tree):
    """Readline replaces only what follows the colon, unless that is quoted."""
    assert complete("pymmctl cat shelf/name:t") == ["tag"]
    assert complete("pymmctl cat shelf/name:") == ["tag"]
    assert complete("pymmctl cat 'shelf/name:t") == ["shelf/name:tag"]
    assert complete(r"pymmctl cat shelf/name\:t") == ["shelf/name:tag"]


def test_tilde(complete, tree):
    assert complete("pymmctl cat ~/shelf/my") == ["~/shelf/my blob"]
    assert complete("pymmctl cat '~/shelf/my") == []


def test_names_are_never_run(complete, ctl, ns, tree):
    for name in ["$(touch pwned)", "`touch pwned`", "; touch pwned", "*"]:
        ctl("put", "--string", f"{ns}/shelf/bad/{name}", "x")
    assert sorted(complete("pymmctl cat shelf/bad/")) == sorted(
        f"shelf/bad/{n}" for n in ["$(touch pwned)", "`touch pwned`", "; touch pwned", "*"]
    )
    assert complete("pymmctl cat 'shelf/bad/$(t") == ["shelf/bad/$(touch pwned)"]
    assert not (ns / "pwned").exists()


def test_beside_a_writer_and_on_damage(complete, ctl, ns, tree, writer):
    process = writer(f"{ns}/shelf/w")
    assert complete("pymmctl cat shelf/mo") == ["shelf/model/"]
    process.kill()
    process.wait()
    (ns / "shelf.map").write_bytes(b"damaged")
    assert complete("pymmctl cat shelf/mo") == []
    assert complete("pymmctl cat nowhere/at/all/") == []


def test_a_real_shell(ctl, ns, tree):
    """Once through readline itself, where its quoting shows."""
    import pty
    import select
    import time

    path = f"{Path(ctl.program).parent}:/usr/bin:/bin"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ns)
        env = {"PATH": path, "LC_ALL": "C.UTF-8", "TERM": "dumb", "PS1": "> ", "INPUTRC": "/dev/null"}
        os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"], env)
    seen = b""

    def until(what):
        nonlocal seen
        end = time.monotonic() + 60
        while what not in seen:
            ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
            assert ready, (what, seen)
            seen += os.read(terminal, 4096)

    os.write(terminal, f"source {shlex.quote(os.fspath(SCRIPT))}; echo rea''dy\n".encode())
    until(b"ready\r\n")
    seen = b""
    os.write(terminal, b"pymmctl cat she\t")
    until(b"shelf/")
    os.write(terminal, b"my\t")
    until(rb"my\ blob")
    seen = b""
    os.write(terminal, b"; echo do''ne\n")
    until(b"done\r\n")
    assert b"pymmctl cat:" not in seen
    os.write(terminal, b"exit\n")
    os.close(terminal)
    os.waitpid(pid, 0)
