"""Tensors on a shelf in training: gradients, optimizers, modules, and a kill in the middle."""

import copy
import io

import pytest

import pymm

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

Shelved = pymm.torch_tensor.shelved_torch_tensor


def test_requires_grad_is_remembered_of_leaves(twice):
    for s in twice():
        if "w" not in s:
            s.w = torch.randn(3, requires_grad=True)
            s.r = pymm.torch_tensor((3,), requires_grad=True)
            s.d = pymm.torch_tensor(torch.ones(3), requires_grad=True)
            s.off = pymm.torch_tensor(torch.ones(3, requires_grad=True), requires_grad=False)
            s.y = s.w * 2
            s.plain = torch.ones(3)
        assert s.w.requires_grad and s.r.requires_grad and s.d.requires_grad
        assert not (s.off.requires_grad or s.y.requires_grad or s.plain.requires_grad)
        assert s.w.is_leaf
        s.plain.requires_grad_()
        assert s.plain.requires_grad  # as long as the shelf is open


def test_gradients_are_in_dram(shelf):
    shelf.w = torch.ones(3, requires_grad=True)
    w = shelf.w
    (w * torch.arange(3.0)).sum().backward()
    assert type(w.grad) is torch.Tensor and w.grad.tolist() == [0, 1, 2]
    assert w[1:].grad_fn is not None and not w[1:].is_leaf
    (shelf.w[1:] ** 2).sum().backward()
    assert shelf.w.grad.tolist() == [0, 3, 4]
    with pytest.raises(RuntimeError):
        shelf.w += 1  # as for any leaf
    with torch.no_grad():
        shelf.w += 1
    assert shelf.w.tolist() == [2, 2, 2] and shelf.w is w


OPTIMIZERS = [("SGD", {"lr": 0.1}), ("SGD", {"lr": 0.1, "momentum": 0.9}), ("Adam", {"lr": 0.01}),
              ("AdamW", {"lr": 0.01}), ("RMSprop", {"lr": 0.01}), ("LBFGS", {"lr": 0.1}),
              ("SGD", {"lr": 0.1, "foreach": True}), ("Adam", {"lr": 0.01, "foreach": True}),
              ("Adam", {"lr": 0.01, "fused": True})]  # fmt: skip


@pytest.mark.parametrize("name, options", OPTIMIZERS, ids=lambda v: str(v))
def test_optimizers_step_in_place(namespace, name, options):
    x, y = torch.randn(16, 3), torch.randn(16, 1)

    def train(w, b):
        optimizer = getattr(torch.optim, name)([w, b], **options)

        def closure():
            optimizer.zero_grad()
            loss = ((x @ w + b - y) ** 2).mean()
            loss.backward()
            return loss

        for _ in range(5):
            optimizer.step(closure)

    first = torch.randn(3, 1)
    w, b = first.clone().requires_grad_(), torch.zeros(1, requires_grad=True)
    train(w, b)
    with pymm.shelf("x", pmem_path=namespace, size_mb=8) as s:
        s.w = first
        s.b = pymm.torch_tensor((1,), requires_grad=True)
        s.w.requires_grad_()
        kept, address = s.w, s.w.addr
        train(s.w, s.b)
        assert s.w is kept and s.w.addr == address == s.w.data_ptr()
        assert torch.equal(s.w, w) and torch.equal(s.b, b)
    with pymm.shelf("x", pmem_path=namespace) as s:
        assert torch.equal(s.w, w) and torch.equal(s.b, b)


def test_a_module_over_the_shelf(namespace):
    torch.manual_seed(1)
    with pymm.shelf("x", pmem_path=namespace, size_mb=8) as s:
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        for name, parameter in list(model.named_parameters()):
            s[name] = parameter
            module = model.get_submodule(name.rpartition(".")[0])
            setattr(module, name.rpartition(".")[2], torch.nn.Parameter(s[name]))
        assert all(isinstance(p, Shelved) and isinstance(p, torch.nn.Parameter) for p in model.parameters())
        optimizer = torch.optim.Adam(model.parameters())
        x = torch.randn(5, 4)
        for _ in range(3):
            optimizer.zero_grad()
            model(x).pow(2).sum().backward()
            optimizer.step()
        assert torch.equal(s["0.weight"], model[0].weight)
        buffer = io.BytesIO()
        torch.save(model.state_dict(), buffer)
        loaded = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
        assert all(type(v) is torch.Tensor and torch.equal(v, s[k]) for k, v in loaded.items())
        model.load_state_dict({k: torch.zeros_like(v) for k, v in loaded.items()})
        assert (s["0.weight"] == 0).all()  # in place, on the shelf
        model.load_state_dict(loaded)
        twin = copy.deepcopy(model)
        assert all(type(p) is torch.nn.Parameter for p in twin.parameters())
        with pytest.raises(RuntimeError, match="deepcopy"):
            model.double()
        twin.double()
    with pymm.shelf("x", pmem_path=namespace) as s:
        assert all(torch.equal(v, s[k]) for k, v in loaded.items())


def test_sigkill_in_a_training_loop(namespace, child):
    """Each element is of the last acknowledged step or a later one."""
    code = """
        import sys, torch, pymm
        torch.set_num_threads(1)
        s = pymm.shelf("x", pmem_path=sys.argv[1], size_mb=16)
        if "w" not in s:
            s.w = pymm.torch_tensor((200_000,), requires_grad=True)
            s.step = 0
        optimizer = torch.optim.SGD([s.w], lr=1.0)
        k = int(s.w.min())
        print(k, flush=True)
        while True:
            optimizer.zero_grad()
            (-s.w).sum().backward()
            optimizer.step()
            s.w.persist()
            k += 1
            print(k, flush=True)
    """
    import random
    import time

    rng = random.Random()
    for _ in range(4):
        writer = child(code, namespace)
        for _ in range(rng.randrange(2, 6)):
            k = int(writer.line())
        time.sleep(rng.random() * 0.004)
        k = max([k, *map(int, writer.kill())])
        with pymm.shelf("x", pmem_path=namespace) as s:
            values = torch.unique(s.w.detach())
            assert s.w.requires_grad and k <= values.min() and values.max() <= values.min() + 1, (k, values)
            # What a torn step left is made whole before the next round counts from its least.
            with torch.no_grad():
                s.w.fill(float(values.min()))
