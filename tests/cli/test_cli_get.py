"""pymmctl get and cat"""

import os
import resource
import signal
import stat
import subprocess

import numpy as np
import pytest

MIB = 1 << 20


@pytest.fixture
def array(ctl, shelf):
    """The blob 'a', 2 x 3 uint8 in Fortran order."""
    ctl("put", "--dtype", "u1", "--shape", "2,3", "--order", "F", f"{shelf}/a", input=b"abcdef")
    return f"{shelf}/a"


def test_formats(ctl, array, tmp_path):
    expected = np.array([list(b"ace"), list(b"bdf")], "u1")
    assert ctl("get", "--format", "raw", array) == b"abcdef"
    assert ctl("get", "--format", "text", array) == b"abcdef"
    ctl("get", array, tmp_path / "a.npy")
    ctl("get", array, tmp_path / "a.bin")
    ctl("get", "--format", "npy", array, tmp_path / "b.bin")
    assert (tmp_path / "a.bin").read_bytes() == b"abcdef"
    for file in ["a.npy", "b.bin"]:
        assert np.array_equal(np.load(tmp_path / file), expected)
    assert ctl("get", array) == ctl("get", array, "-") == (tmp_path / "a.npy").read_bytes()


def test_auto_of_values(ctl, shelf, tmp_path):
    for option, data in [("--string", b"text"), ("--bytes", b"\0\1"), ("--format=raw", b"\2")]:
        ctl("put", option, f"{shelf}/x", input=data)
        assert ctl("get", f"{shelf}/x") == data
        ctl("get", f"{shelf}/x", tmp_path / "x")
        assert (tmp_path / "x").read_bytes() == data
        ctl.fails(2, "get", f"{shelf}/x", tmp_path / "x.npy")
        ctl.fails(2, "get", "--format", "npy", f"{shelf}/x")
    assert not (tmp_path / "x.npy").exists()


def test_pipe_between_shelves(ctl, ns, array):
    ctl("create", ns / "t")
    get = subprocess.Popen(ctl.command("get", array, "-"), stdout=subprocess.PIPE)
    ctl("put", f"{ns}/t/b", "-", stdin=get.stdout)
    get.stdout.close()
    assert get.wait() == 0
    same = ["kind", "dtype", "shape", "strides", "order", "size"]
    a, b = (ctl.json("info", path) for path in [array, f"{ns}/t/b"])
    assert [a[k] for k in same] == [b[k] for k in same]


def test_large(ctl, ns, tmp_path):
    ctl("create", "-s", "64M", ns / "s")
    data = np.random.default_rng(1).bytes(20 * MIB + 3)
    ctl("put", f"{ns}/s/x", input=data)
    assert ctl("cat", f"{ns}/s/x") == data
    ctl("get", f"{ns}/s/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == data


def test_file_replaced_whole_and_mode_kept(ctl, shelf, tmp_path):
    ctl("put", f"{shelf}/x", input=b"new")
    target = tmp_path / "x"
    target.write_bytes(b"old and longer")
    target.chmod(0o604)
    (tmp_path / "link").symlink_to("x")
    ctl("get", f"{shelf}/x", tmp_path / "link")
    assert target.read_bytes() == b"new" and (tmp_path / "link").is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o604


def test_new_file_obeys_umask(ctl, shelf, tmp_path):
    ctl("put", f"{shelf}/x", input=b"new")
    ctl("get", f"{shelf}/x", tmp_path / "x", preexec_fn=lambda: os.umask(0o027))
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_no_replace(ctl, shelf, tmp_path):
    ctl("put", f"{shelf}/x", input=b"new")
    ctl("get", "-n", f"{shelf}/x", tmp_path / "x")
    ctl("put", f"{shelf}/x", input=b"newer")
    ctl.fails(4, "get", "-n", f"{shelf}/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"new"
    assert set(os.listdir(tmp_path)) - {"ns"} == {"x"}


def test_failure_leaves_nothing(ctl, shelf, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    ctl.fails(3, "get", f"{shelf}/x", folder / "x")
    ctl("put", f"{shelf}/x", input=b"1")
    ctl.fails(2, "get", f"{shelf}/x", folder)
    ctl.fails(3, "get", f"{shelf}/x", folder / "no" / "x")
    ctl.fails(3, "get", f"{shelf}/x", "x/")
    assert os.listdir(folder) == []


def limit_file_size():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))


def test_disk_full_leaves_the_old_file(ctl, shelf, tmp_path):
    """A size limit stands in for a full disk."""
    ctl("put", f"{shelf}/x", input=bytes(3 * MIB))
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "x").write_bytes(b"old")
    ctl.fails(1, "get", f"{shelf}/x", folder / "x", preexec_fn=limit_file_size)
    assert (folder / "x").read_bytes() == b"old" and os.listdir(folder) == ["x"]


def test_devices_and_pipes_are_written_directly(ctl, shelf, tmp_path):
    ctl("put", f"{shelf}/x", input=b"1")
    ctl("get", f"{shelf}/x", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(ctl.command("get", f"{shelf}/x", tmp_path / "pipe")) as process:
        assert (tmp_path / "pipe").read_bytes() == b"1"
    assert process.returncode == 0 and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@pytest.mark.parametrize("command", ["get", "cat"])
def test_full_output(ctl, shelf, command):
    ctl("put", f"{shelf}/x", input=b"1")
    with open("/dev/full", "wb") as full:
        done = ctl.run(command, f"{shelf}/x", stdout=full)
    assert done.returncode == 6 and b"standard output" in done.stderr


@pytest.mark.parametrize("command", ["get", "cat", "list", "info", "df"])
def test_reader_goes_away(ctl, shelf, command):
    """Ends by SIGPIPE, silently, as other tools do; also where SIGPIPE was ignored by the parent."""
    ctl("put", f"{shelf}/x", input=bytes(8 * MIB))
    path = {"df": shelf, "list": shelf}.get(command, f"{shelf}/x")
    for restore in [True, False]:
        read, write = os.pipe()
        os.close(read)
        done = ctl.run(command, path, stdout=write, restore_signals=restore)
        os.close(write)
        assert done.returncode == -13 and done.stderr == b""


def test_reader_goes_away_in_the_middle(ctl, shelf):
    ctl("put", f"{shelf}/x", input=bytes(8 * MIB))
    script = '"$0" cat "$1" | head -c 1000 | wc -c; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(
        ["bash", "-c", script, ctl.program, f"{shelf}/x"], capture_output=True, check=True
    )
    assert done.stdout.split() == [b"1000", b"141"] and done.stderr == b""


def test_closed_descriptors_do_not_become_the_shelf(ctl, shelf):
    """Output must not land in a file that was given the number of a closed standard descriptor."""
    ctl("put", "--string", f"{shelf}/x", "text")
    for command in ["cat", "get", "info"]:
        script = f'exec >&-; "$0" {command} "$1"'
        done = subprocess.run(["bash", "-c", script, ctl.program, f"{shelf}/x"], capture_output=True)
        assert done.returncode == 1 and b"standard output" in done.stderr
    script = 'exec <&- >&- 2>&-; exec "$0" put "$1"'
    done = subprocess.run(["bash", "-c", script, ctl.program, f"{shelf}/x"])
    assert done.returncode == 1
    assert ctl("cat", f"{shelf}/x") == b"text"


def test_cat_several(ctl, shelf):
    ctl("put", "--string", f"{shelf}/a", "A")
    ctl("put", f"{shelf}/b", input=b"\0\n")
    ctl("put", "--bytes", f"{shelf}/c", input=b"")
    assert ctl("cat", f"{shelf}/b", f"{shelf}/a", f"{shelf}/c", f"{shelf}/a") == b"\0\nAA"
    done = ctl.run("cat", f"{shelf}/a", f"{shelf}/nothing", f"{shelf}/b")
    assert (done.returncode, done.stdout) == (3, b"A\0\n")
    ctl.fails(2, "cat")
    ctl.fails(2, "cat", shelf)


def test_beside_a_writer(ctl, array, shelf, writer):
    process = writer(f"{shelf}/w")
    assert ctl("cat", array) == b"abcdef"
    assert ctl("get", "--format", "raw", array) == b"abcdef"
    process.communicate(b"")
    assert ctl("cat", f"{shelf}/w").endswith(b"w")


def test_not_found(ctl, ns, shelf):
    ctl.fails(3, "get", f"{shelf}/x")
    ctl.fails(3, "get", f"{ns}/t/x")
    ctl.fails(2, "get", shelf)
    ctl.fails(2, "get", ns)


def test_killed_leaves_no_part(ctl, ns, tmp_path):
    """SIGTERM while the output is being written: the file beside is removed."""
    ctl("create", "-s", "64M", ns / "s")
    ctl("put", f"{ns}/s/x", input=bytes(30 * MIB))
    folder = tmp_path / "out"
    folder.mkdir()
    seen = 0
    for _ in range(100):
        process = subprocess.Popen(ctl.command("get", f"{ns}/s/x", folder / "x"))
        while process.poll() is None and not os.listdir(folder):
            pass
        process.send_signal(signal.SIGTERM)
        process.wait()
        assert process.returncode in (0, -signal.SIGTERM)
        # Either there whole or not at all.
        if process.returncode == 0:
            assert os.listdir(folder) == ["x"] and (folder / "x").stat().st_size == 30 * MIB
        else:
            seen += 1
        for name in os.listdir(folder):
            assert name == "x" and (folder / "x").stat().st_size == 30 * MIB
            (folder / name).unlink()
        if seen >= 3:
            return
    pytest.skip("no SIGTERM arrived in time")
