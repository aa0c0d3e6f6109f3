"""s.load(): map_location, into and strict, as users of PyTorch expect them."""

import collections
import io

import numpy as np
import pytest

import pymm


def test_without_pytorch_they_change_nothing(shelf):
    shelf.save({"a": np.arange(3), "b": [1, "x"]}, "c")
    for copy in (True, False):
        found = shelf.load("c", copy=copy, map_location="cuda:7")
        assert type(found) is dict and found["b"] == [1, "x"] and found["a"].tolist() == [0, 1, 2]
        assert isinstance(found["a"], pymm.ndarray.shelved_ndarray) == (not copy)
    shelf.save(np.arange(3), "array")
    assert type(shelf.load("array", map_location="cpu")) is np.ndarray
    with pytest.raises(pymm.InvalidArgument, match="into"):
        shelf.load("c", strict=False)
    with pytest.raises(KeyError):
        shelf.load("absent", map_location="cpu")


def test_variables_are_loaded_too(shelf):
    shelf.w = {"a": np.arange(3)}
    shelf.n = 5
    assert type(shelf.load("w")) is dict and shelf.load("w")["a"].flags.writeable
    assert not shelf.load("w", copy=False)["a"].flags.writeable
    shelf.save([1], "w")
    assert shelf.load("w") == [1]
    for name, version in (("n", -1), ("absent", -1), ("w", 7)):
        with pytest.raises(KeyError):
            shelf.load(name, version=version)


class Counter:
    """Something with a state, in the manner of schedulers."""

    state = None

    def load_state_dict(self, state):
        self.state = state


def test_into_anything_with_a_state(shelf):
    shelf.save({"a": {"n": 5, "x": np.arange(3)}, "b": [1]}, "c")
    a, b = Counter(), Counter()
    assert shelf.load("c", into={"a": a}) == {"a": None} and type(a.state) is dict and a.state["n"] == 5
    assert type(a.state["x"]) is np.ndarray  # kept by whoever got it, so it is no view
    shelf.load("c", into={"a": a, "b": b})
    assert b.state == [1]
    shelf.load("c", into=b)
    assert b.state["b"] == [1]
    for wrong in ({"absent": a}, {"a": {"absent": a}}, {"b": {"n": a}}):
        with pytest.raises(KeyError, match="nothing was saved"):
            shelf.load("c", into=wrong)
    for wrong in (5, [a], {"a": 5}):
        with pytest.raises(TypeError, match="load_state_dict"):
            shelf.load("c", into=wrong)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def test_devices(shelf, torch):
    state = collections.OrderedDict(
        w=torch.randn(3, 4).T, b=torch.nn.Parameter(torch.ones(3)), list=[torch.arange(3), (torch.tensor(1.5), np.arange(2))], n=5
    )
    shelf.save(state, "c")
    for where in ("meta", torch.device("meta"), {"cpu": "meta"}, {"cpu": torch.device("meta"), "cuda:0": "cpu"}):
        for copy in (True, False):
            found = shelf.load("c", map_location=where, copy=copy)
            assert type(found) is collections.OrderedDict and type(found["list"]) is list and type(found["list"][1]) is tuple
            for key in ("w", "b"):
                assert type(found[key]) is torch.Tensor and found[key].device.type == "meta"
                assert found[key].shape == state[key].shape and found[key].stride() == state[key].stride()
                assert found[key].requires_grad == state[key].requires_grad and found[key].is_leaf
            assert found["list"][0].dtype == torch.int64 and found["n"] == 5
            assert isinstance(found["list"][1][1], np.ndarray)
    for where in ("cpu", torch.device("cpu"), {"cpu": "cpu"}, {"cuda:0": "meta"}, {}):
        found = shelf.load("c", map_location=where)
        assert type(found["w"]) is torch.Tensor and torch.equal(found["w"], state["w"]) and found["b"].requires_grad
        found["w"].zero_()
        found = shelf.load("c", map_location=where, copy=False)
        assert isinstance(found["w"], pymm.torch_tensor.shelved_torch_tensor) and torch.equal(found["w"], state["w"])
    with pytest.raises(RuntimeError):
        shelf.load("c", map_location="nowhere")


def test_as_torch_load(shelf, torch):
    """The same arguments give the same."""
    state = {"w": torch.randn(3, 4), "n": 5, "p": torch.randn(6)[::2]}
    shelf.save(state, "c")
    file = io.BytesIO()
    torch.save(state, file)
    asked = []

    def where(storage, location):
        asked.append((type(storage), location))
        return storage

    for map_location in ("cpu", "meta", torch.device("meta"), {"cpu": "meta"}, {"cuda": "cpu"}, where, lambda s, l: None,
                         lambda s, l: s.cpu(), None):  # fmt: skip
        file.seek(0)
        theirs, ours = torch.load(file, map_location=map_location), shelf.load("c", map_location=map_location)
        for key in ("w", "p"):
            assert ours[key].device == theirs[key].device and ours[key].dtype == theirs[key].dtype
            assert type(ours[key]) is torch.Tensor
            assert ours[key].is_meta or torch.equal(ours[key], theirs[key])
    assert set(asked) == {(torch.UntypedStorage, "cpu")} and len(asked) == 4


def test_functions(shelf, torch):
    shelf.save({"w": torch.arange(12.0).reshape(3, 4), "b": torch.nn.Parameter(torch.ones(3))}, "c")
    kept = []

    def elsewhere(storage, location):
        kept.append(storage.clone())
        return kept[-1]

    for copy in (True, False):
        found = shelf.load("c", map_location=elsewhere, copy=copy)
        assert type(found["w"]) is torch.Tensor and found["w"].untyped_storage().data_ptr() == kept[-2].data_ptr()
        assert found["w"].sum() == 66 and found["b"].requires_grad
        found["w"].zero_()
    assert isinstance(shelf.load("c", map_location=lambda s, l: s, copy=False)["w"], pymm.torch_tensor.shelved_torch_tensor)
    assert shelf.load("c")["w"].sum() == 66
    with pytest.raises(TypeError, match="storage"):
        shelf.load("c", map_location=lambda s, l: 5)


def test_into_modules(shelf, torch):
    torch.manual_seed(3)
    model, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    optimizer, another = torch.optim.Adam(model.parameters()), torch.optim.Adam(other.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    shelf.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, "c")
    result = shelf.load("c", into={"model": other, "optimizer": another})
    assert result["model"].missing_keys == [] and result["optimizer"] is None
    assert torch.equal(other.weight, model.weight) and type(other.weight) is torch.nn.Parameter
    state = another.state_dict()["state"][0]
    assert torch.equal(state["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
    assert not any(isinstance(value, pymm.torch_tensor.shelved_torch_tensor) for value in state.values())
    for m, o in ((model, optimizer), (other, another)):
        o.zero_grad()
        m(torch.ones(3)).sum().backward()
        o.step()
    assert torch.equal(other.weight, model.weight)

    shelf.save(model.state_dict(), "model")
    larger = torch.nn.Sequential(collections.OrderedDict(weight=torch.nn.Linear(1, 1)))
    with pytest.raises(RuntimeError, match="Missing key"):
        shelf.load("model", into=larger)
    result = shelf.load("model", into=larger, strict=False)
    assert result.missing_keys == ["weight.weight", "weight.bias"] and result.unexpected_keys == ["weight", "bias"]
    with pytest.raises(RuntimeError, match="size mismatch"):
        shelf.load("model", into=torch.nn.Linear(4, 2), strict=False)


def test_meta_module(shelf, torch):
    with torch.device("meta"):
        model = torch.nn.Linear(3, 2)
    plain = torch.nn.Linear(3, 2)
    shelf.save(plain.state_dict(), "c")
    model.load_state_dict(shelf.load("c"), assign=True)
    assert torch.equal(model.weight, plain.weight)
