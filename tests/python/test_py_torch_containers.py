"""Tensors in containers and checkpoints: state_dict() as it is."""

import copy
import subprocess
import sys

import numpy as np
import pytest

import killed
import pymm

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
          "complex128"]  # fmt: skip


def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 10)
    )


def step(model, optimizer, seed):
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.cpu(), b.cpu())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("name", DTYPES)
def test_every_kind_of_elements(twice, name):
    tensor = (torch.arange(24).reshape(2, 3, 4) % 2).to(getattr(torch, name))
    first = True
    for s in twice():
        if first:
            s.x = [tensor, {"t": tensor.T if tensor.dim() == 2 else tensor.permute(2, 0, 1), 5: tensor[:, 1:, ::2]}, tensor[0, 0, 0]]
            first = False
        found = s.x
        assert isinstance(found[0], pymm.torch_tensor.shelved_torch_tensor)
        assert same(found[0], tensor) and same(found[1]["t"], tensor.permute(2, 0, 1))
        assert same(found[1][5], tensor[:, 1:, ::2]) and same(found[2], tensor[0, 0, 0]) and found[2].shape == ()
        plain = found.plain()
        assert type(plain[0]) is torch.Tensor and same(plain[0], tensor) and same(plain[1][5], tensor[:, 1:, ::2])


def test_layouts_and_empty_ones(shelf):
    image = torch.randn(2, 3, 5, 7).to(memory_format=torch.channels_last)
    shelf.x = (image, torch.empty(0, 4), torch.randn(4, 4).T, torch.ones(3, 1).expand(3, 5), torch.tensor(2.5))
    back = shelf.x
    assert same(back[0], image) and back[0].is_contiguous(memory_format=torch.channels_last)
    assert back[1].shape == (0, 4) and same(back[3], torch.ones(3, 5)) and back[4].item() == 2.5


def test_they_are_private_and_stay(shelf, reopen):
    shelf.x = [torch.zeros(2000), torch.ones(3)]
    zeros, ones = shelf.x
    zeros += 5
    with pytest.raises(pymm.ReadOnlyError):
        zeros.persist()
    s = reopen(shelf)
    assert (s.x[0] == 0).all() and (zeros == 5).all()
    del s.x
    s.y = np.arange(10_000)
    s.close()
    assert (ones == 1).all() and (zeros == 5).all()


def test_a_part_takes_its_container_s_place(twice, shelf):
    shelf.d, shelf.l = {"w": torch.arange(1000.0)}, [torch.ones(3), 2]
    shelf.d = shelf.d["w"]
    shelf.l = shelf.l[0]
    for s in twice():
        assert torch.equal(s.d, torch.arange(1000.0)) and torch.equal(s.l, torch.ones(3))


def test_gradients_are_asked_for_again(shelf):
    shelf.x = [torch.nn.Parameter(torch.ones(3)), torch.ones(3)]
    parameter, plain = shelf.x
    assert parameter.requires_grad and parameter.is_leaf and not plain.requires_grad
    assert [t.requires_grad for t in shelf.x.plain()] == [True, False]
    (parameter * 2).sum().backward()
    assert (parameter.grad == 2).all()


def test_what_cannot_be_stored_is_told_with_its_place(shelf):
    for bad in (torch.ones(3).to_sparse(), torch.empty(3, device="meta"), pymm.torch_tensor((3,))):
        with pytest.raises(TypeError, match=r"x\[1\]\['a'\]"):
            shelf.x = [1, {"a": bad}]
    with pytest.raises(TypeError):
        shelf.x = {torch.ones(3): 1}
    assert "x" not in shelf


def test_a_state_dict_as_it_is(twice):
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    for seed in range(3):
        step(model, optimizer, seed)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
    expected = copy.deepcopy(state)
    first = True
    for s in twice():
        if first:
            s.save(state, "mnist", keep=2)
            first = False
        for loaded in (s.load("mnist"), s.load("mnist", copy=False)):
            other = network()
            again = torch.optim.Adam(other.parameters())
            other.load_state_dict(loaded["model"])
            again.load_state_dict(loaded["optimizer"] if isinstance(loaded["optimizer"], dict) else loaded["optimizer"].plain())
            assert same(other.state_dict(), expected["model"]) and same(again.state_dict(), expected["optimizer"])
        assert same(s.load("mnist"), expected) and type(s.load("mnist")["model"]) is type(expected["model"])


def test_in_the_background_it_is_a_snapshot(shelf):
    model = network()
    before = copy.deepcopy(model.state_dict())
    future = shelf.save_async(model.state_dict(), "mnist")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    future.result(timeout=60)
    assert same(shelf.load("mnist"), before)


def test_of_tensors_that_are_on_a_shelf(shelf):
    shelf.w = torch.randn(3, 4)
    shelf.x = {"w": shelf.w, "row": shelf.w[1]}
    expected = shelf.w.clone()
    shelf.w += 1
    assert same(shelf.x["w"], expected) and same(shelf.x["row"], expected[1])
    shelf.y = [shelf.x, shelf.x["w"]]
    assert same(shelf.y[1], expected) and same(shelf.y[0]["row"], expected[1])


def test_without_torch_the_rest_can_be_read(shelf, namespace):
    shelf.x = [1, torch.ones(3), "text"]
    shelf.close()
    program = f"""
import sys
sys.modules["torch"] = None
import pymm
s = pymm.shelf('test', pmem_path={namespace!r})
assert s.x[0] == 1 and s.x[2] == 'text' and len(s.x) == 3
try:
    s.x[1]
except ImportError as error:
    assert "'x'" in str(error), error
else:
    raise AssertionError("a tensor without PyTorch")
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_hostile_element_type(shelf, monkeypatch):
    from pymm import _tensor

    real = _tensor.elements
    for text in ("float99", "<f8", "float32; import os", "<f4 requires_grad x"):
        monkeypatch.setattr(_tensor, "elements", lambda value, text=text: real(value)._replace(text=text))
        shelf.x = [torch.ones(4)]
        with pytest.raises(pymm.CorruptError):
            shelf.x[0]


PROGRAM = """
import sys
import torch, pymm
s = pymm.shelf('test', pmem_path=sys.argv[1])
model = {'w': torch.zeros(100, 100), 'b': torch.zeros(7, dtype=torch.bfloat16)}
for n in range(1, 1000000):
    for t in model.values():
        t.fill_(n % 100)
    s.save({'model': model, 'n': n}, 'model')
    print(n, flush=True)
"""


@pytest.mark.parametrize("after", [2, 30])
def test_killed_while_saving(shelf, namespace, after):
    shelf.close()
    acknowledged = killed.acknowledged(PROGRAM, namespace, after)
    with pymm.shelf("test", pmem_path=namespace) as s:
        found = s.load("model")
        assert found["n"] in (acknowledged, acknowledged + 1)
        assert all((tensor == found["n"] % 100).all() for tensor in found["model"].values())
    assert pymm.fsck(namespace, "test", scrub=True).clean


def test_tensors_in_a_linked_list(shelf, twice):
    values = [torch.arange(6).reshape(2, 3), torch.ones(5, dtype=torch.bfloat16), {"w": torch.zeros(3)}, 5]
    shelf.l = pymm.linked_list(values[:1])
    shelf.l += values[1:]
    for s in twice():
        assert torch.equal(s.l[0], values[0]) and torch.equal(s.l[1], values[1]) and s.l[1].dtype == torch.bfloat16
        assert torch.equal(s.l[2]["w"], values[2]["w"]) and s.l[3] == 5
        plain = s.l.plain()
        assert type(plain[0]) is torch.Tensor and torch.equal(plain[0], values[0])
        # What is stored to one that was taken out reaches nobody else.
        s.l[0].fill_(7)
        assert torch.equal(s._open("l")[0], values[0])
