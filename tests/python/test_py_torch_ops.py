"""PyTorch's own table of operators, with its sample inputs, on tensors of a shelf and on plain ones: the same results."""

import itertools
import os
import warnings

import pytest

import pymm

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="expecttest is not installed, which PyTorch's tables of operators want")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    # Not a promised interface of PyTorch's.
    methods = pytest.importorskip(
        "torch.testing._internal.common_methods_invocations", reason="this PyTorch has no table of its operators"
    )

Shelved = pymm.torch_tensor.shelved_torch_tensor

MOST = 50 if os.environ.get("PYMM_TEST_LONG") else 6  # samples of an operator and a dtype
DTYPES = [torch.float32, torch.int64, torch.bool, torch.complex64, torch.bfloat16]

# They would give the variable another shape than the shelf holds.
SHAPE = {"as_strided", "resize_", "resize_as_", "squeeze", "t", "transpose", "unsqueeze", "swapaxes", "swapdims"}
# What they give is undefined, random without a seed, or depends on where the memory is.
UNDEFINED = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "empty_permuted"}


@pytest.fixture(autouse=True)
def one_thread():
    """The samples are small: threads would do nothing but wait for each other."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


def samples(op, dtype, most):
    if dtype not in op.dtypes:
        return
    for sample in itertools.islice(op.sample_inputs("cpu", dtype), most):
        if type(sample.input) is torch.Tensor and sample.input.layout is torch.strided:
            yield sample


def run(function, *args, **kwargs):
    """(result, None) or (None, type of the error)."""
    torch.manual_seed(0)
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, type(error)


def equal(one, other):
    plain = [t.detach().as_subclass(torch.Tensor).resolve_conj().resolve_neg() for t in (one, other)]
    torch.testing.assert_close(*plain, rtol=0, atol=0, equal_nan=True)
    return True


@pytest.mark.filterwarnings("ignore")
def test_in_place_methods(shelf):
    ops = calls = refused = 0
    for op in methods.op_db:
        method = op.get_inplace()
        if method is None:
            continue
        ops += 1
        for dtype in DTYPES:
            for sample in samples(op, dtype, MOST):
                if sample.broadcasts_input:
                    continue  # not meant for methods in place: the result has another shape
                plain = sample.input.detach().clone()
                shelf.x = plain
                x, address = shelf.x, shelf.x.addr
                expected, error = run(method, plain, *sample.args, **sample.kwargs)
                result, ours = run(method, x, *sample.args, **sample.kwargs)
                calls += 1
                what = (op.name, dtype, sample)
                assert shelf.x is x and x.data_ptr() == address, what
                if op.name in SHAPE and ours is RuntimeError:
                    refused += 1
                    assert x.shape == sample.input.shape, what
                    continue
                assert ours is error, what
                if error is None:
                    assert result is x and expected is plain and equal(x, plain), what
    assert ops > 100 and calls > 1000 and refused < calls / 10
    print(f"{ops} methods, {calls} calls, {refused} of them would change the shape of the variable")


@pytest.mark.filterwarnings("ignore")
def test_functions(shelf):
    ops = calls = views = 0
    for op in methods.op_db:
        if op.name in UNDEFINED or not callable(op.get_op()):
            continue
        ops += 1
        for sample in samples(op, torch.float32, 2):
            plain = sample.input.detach().clone()
            shelf.x = plain
            x = shelf.x
            expected, error = run(op.get_op(), plain, *sample.args, **sample.kwargs)
            result, ours = run(op.get_op(), x, *sample.args, **sample.kwargs)
            calls += 1
            what = (op.name, sample)
            assert ours is error, what
            one, other = ([r] if isinstance(r, torch.Tensor) else r for r in (result, expected))
            if error is not None or not isinstance(one, (tuple, list)):
                continue
            assert len(one) == len(other), what
            for mine, theirs in zip(one, other):
                if not isinstance(mine, torch.Tensor) or mine.layout is not torch.strided or mine.is_meta:
                    continue
                start = mine.untyped_storage().data_ptr()
                shared = start != 0 and start == x.untyped_storage().data_ptr()
                views += shared
                assert start == 0 or (type(mine) is Shelved) is shared, what
                assert type(mine) in (torch.Tensor, Shelved), what
                assert equal(mine, theirs), what
    assert ops > 400 and calls > 500 and views > 50
    print(f"{ops} functions, {calls} calls, {views} results are views of the shelf's memory")
