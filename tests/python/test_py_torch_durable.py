"""What makes stores to tensors durable: counted as in test_py_durable.py."""

import pytest
from test_py_durable import counted, counter, lines  # noqa: F401  (fixtures)

pytest.importorskip("torch", reason="PyTorch is not installed")

# After one store that nothing has made durable.
DURABLE = """
s.w.persist()
s.w[1:3].persist()
s.w.persist_offset(5, 1)
s.persist()
s.w = s.w
s.w = w
s['w'] = w
s.w = w.detach()
s['w'] = w.detach().as_subclass(torch.Tensor)
s.w += 0
s['w'] *= 2
s.w[1] += 1; s.w = s.w
s.w.fill(3)
s.w = torch.ones(3)
s.close()
"""

# PyTorch's own ways to store: an optimizer takes many of them in each step.
NOT_DURABLE = """
w.add_(1)
w.fill_(1)
w[0] = 1
w[1:5] += 1
w.copy_(torch.ones(1000))
torch.add(w, 1, out=w)
w.detach().mul_(2)
w + 1; w.sum(); w.clone(); s.w
"""

CODE = """
import torch
for code in {codes!r}:
    if not s._state.handle.is_open:
        s = pymm.shelf("d", pmem_path=sys.argv[1])
    s.w = torch.zeros(1000)
    w = s.w
    w[7] = 1
    before = syncs.value
    exec(code)
    print(syncs.value - before)
"""


def test_these_are_durable_when_they_return(counted):  # noqa: F811
    codes = lines(DURABLE)
    out = counted(CODE.format(codes=codes))
    assert [code for code, n in zip(codes, out) if int(n) == 0] == [] and len(out) == len(codes)


def test_these_cost_no_sync(counted):  # noqa: F811
    codes = lines(NOT_DURABLE)
    out = counted(CODE.format(codes=codes))
    assert [code for code, n in zip(codes, out) if int(n) != 0] == [] and len(out) == len(codes)


def test_one_sync_for_one_operator(counted):  # noqa: F811
    assert counted(CODE.format(codes=["s.w += 1", "s['w'] += 1", "s.w.fill(1)", "s.w = w"])) == ["1"] * 4
