"""The types that users' checkers see."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pymm

USER = """
import numpy as np
import pymm

s = pymm.shelf("x", size_mb=64, pmem_path="/tmp", mode="a")
s.x = pymm.ndarray((10, 10), dtype=np.int64)
s.x += 1
s["y"] = 5
names: list[str] = s.items
used: float = s.used
with s.batch() as b:
    b["z"] = 1
    b.rename("z", "w")
s.t = pymm.string("text", encoding="latin-1")
s.b = pymm.bytes([1, 2, 3])
s.n, s.f = pymm.integer_number("5"), pymm.float_number(5)
text: str = pymm.string.shelved_string("text")
raw: bytes = pymm.bytes.shelved_bytes(b"raw")
number: int = pymm.integer_number.shelved_integer_number(5) + 1
real: float = pymm.float_number.shelved_float_number(5)
s.w = pymm.torch_tensor((3, 3), requires_grad=True)
s.d = pymm.dlpack_array((3, 3), dtype=np.float32)
s.raw = memoryview(b"raw")
elements: float = pymm.torch_tensor.asndarray(s, "w").sum()
s.copy("x", "copy", replace=True)
s.erase(s.t)
s.erase("copy")
s.erase(np.zeros(3))
shown: str = s.inspect(verbose=True)
kinds: list[str] = s.supported_types()
pymm.demo()
s.l = [1, {"a": np.zeros(3), (1, 2): "text"}, None]
plain = s.l.plain()
s.erase(s.l)
trusted = pymm.shelf("x", allow_pickle=True)
trusted.p = pymm.pickled({1, 2})
plain = pymm.pickled.load(trusted, "p")
pymm.io.load_safetensors(s, "m", "model.safetensors", framework="np")
pymm.io.save_safetensors(s, "m", "model.safetensors", metadata={"a": "b"})
state = s.load("m", map_location="cpu", copy=False)
result = s.load("m", into=state, strict=False)
try:
    s.p
except pymm.PickleRefused as refused:
    message: str = str(refused)
del s.x
try:
    s.close()
except pymm.BusyError as error:
    errno: int | None = error.errno
array = pymm.ndarray.shelved_ndarray((3,))
array.persist_offset(0, 3)
s.g = pymm.ndarray((0, 3), maxshape=(None, 3))
longer = array.append([1.0, 2.0])
most: int | None = array.maxshape[0]
length: int = len(longer)
address: int | None = array.addr
report = pymm.fsck("/tmp", repair="safe")
messages: list[str] = [finding.message for finding in report.findings if finding.error]
code: int = report["x"].exit_code
"""


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_mypy_strict(tmp_path):
    user = tmp_path / "user.py"
    user.write_text(USER)
    package = Path(pymm.__file__).parent
    assert (package / "py.typed").exists()
    env = {**os.environ, "MYPYPATH": str(package.parent)}
    for what in ([str(user)], ["-p", "pymm"]):
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}/cache", *what],
            env=env, cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
