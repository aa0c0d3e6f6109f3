"""Tensors on a shelf: pymm.torch_tensor and torch.Tensor."""

import copy
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import pymm

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

Shelved = pymm.torch_tensor.shelved_torch_tensor

PLAIN = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex64", "complex128"]
WIDE = ["uint16", "uint32", "uint64"]
OWN = [
    "bfloat16", "complex32", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
    "float4_e2m1fn_x2",
]  # fmt: skip


def same(one, other):
    """Equal to the bit, whatever the elements are."""
    one, other = one.detach().as_subclass(torch.Tensor), other.detach().as_subclass(torch.Tensor)
    assert one.dtype == other.dtype and one.shape == other.shape

    def flat(value):
        value = value.contiguous().reshape(-1)
        return value.view(torch.uint8) if value.numel() else torch.empty(0)

    return torch.equal(flat(one), flat(other))


@pytest.mark.parametrize("name", PLAIN + WIDE + OWN)
def test_every_dtype(twice, name):
    dtype = getattr(torch, name, None)
    if dtype is None:
        pytest.skip(f"this PyTorch has no {name}")
    size = dtype.itemsize
    raw = bytes(b & 1 for b in range(24 * size)) if name == "bool" else bytes(range(1, 24 * size + 1 if size < 10 else 241))
    raw = (raw * size)[: 24 * size]
    value = torch.frombuffer(bytearray(raw), dtype=dtype).reshape(2, 3, 4)
    for s in twice():
        if "x" not in s:
            s.x = value
            s.scalar = value[0, 0, 1]
            s.empty = value[:, :0]
            s.sliced = value[:, 1:, ::2]
            s.turned = value.transpose(0, 2)
        for key, expected in {
            "x": value, "scalar": value[0, 0, 1], "empty": value[:, :0], "sliced": value[:, 1:, ::2],
            "turned": value.transpose(0, 2),
        }.items():  # fmt: skip
            assert type(s[key]) is Shelved and s[key].name == key
            assert same(s[key], expected), key


def test_it_is_the_shelfs_memory(shelf):
    shelf.w = torch.zeros(3, 3)
    w = shelf.w
    assert shelf.w is w and w.is_leaf and not w.requires_grad
    assert w.addr == w.data_ptr() == w.untyped_storage().data_ptr()
    w[1] = 5
    again = pymm.torch_tensor.asndarray(shelf, "w")
    assert isinstance(again, pymm.ndarray.shelved_ndarray)
    assert again[1, 2] == 5 and again.addr == w.addr
    again[0, 0] = 7
    assert w[0, 0] == 7


def test_the_sum_with_an_outer_product_is_still_there(shelf):
    shelf.w = torch.ones(2, 3)
    assert torch.equal(shelf.w.addr(torch.ones(2), torch.ones(3)), torch.full((2, 3), 2.0))


@pytest.mark.parametrize(
    "data, dtype, shape",
    [
        ((2, 3), torch.float32, (2, 3)), (torch.Size([2, 3]), torch.float32, (2, 3)), ((), torch.float32, ()),
        ([1, 2, 3], torch.int64, (3,)), ([[1.5], [2.5]], torch.float32, (2, 1)), (5, torch.int64, ()),
        (2.5, torch.float32, ()), (True, torch.bool, ()), (np.arange(6.0).reshape(2, 3), torch.float64, (2, 3)),
        (np.float32(1.5), torch.float32, ()), (np.zeros((0, 4), np.int8), torch.int8, (0, 4)),
        (np.arange(6, dtype=np.uint16)[::2], torch.uint16, (3,)), (torch.arange(4), torch.int64, (4,)),
    ],
    ids=str,
)  # fmt: skip
def test_the_recipe(twice, data, dtype, shape):
    for s in twice():
        if "x" not in s:
            s.x = pymm.torch_tensor(data)
        assert type(s.x) is Shelved and s.x.dtype == dtype and tuple(s.x.shape) == shape
        expected = np.zeros(shape) if isinstance(data, tuple) else np.asarray(data)
        assert np.array_equal(s.x.asndarray(), expected)


def test_the_recipe_has_a_dtype_and_an_order(shelf):
    shelf.x = pymm.torch_tensor((2, 3), dtype=float, order="F")
    assert shelf.x.dtype == torch.float64 and shelf.x.stride() == (1, 2)
    shelf.x = pymm.torch_tensor([1, 2], dtype=np.int16)
    assert shelf.x.dtype == torch.int16
    shelf.x = pymm.torch_tensor((4,), dtype=torch.bfloat16)
    assert shelf.x.dtype == torch.bfloat16 and shelf.x.sum() == 0
    read_only = np.arange(3)
    read_only.flags.writeable = False
    shelf.x = pymm.torch_tensor(read_only)
    assert shelf.x.tolist() == [0, 1, 2]
    for wrong in (
        lambda: pymm.torch_tensor((2, -1)),
        lambda: pymm.torch_tensor((2, 3), order="K"),
        lambda: pymm.torch_tensor((2, 3), strides=(9, 1)),
    ):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(TypeError):
        pymm.torch_tensor(np.array(["a"]))
    with pytest.raises(RuntimeError):
        pymm.torch_tensor((2,), dtype=torch.int64, requires_grad=True)


def test_results_are_plain_and_views_are_shelved(shelf):
    shelf.w = torch.arange(12.0).reshape(3, 4)
    w = shelf.w
    for plain in (w + 1, 2 * w, w @ w.T, w.clone(), w.sum(), torch.relu(w), w.to(torch.float64), torch.cat([w, w]),
                  w[[0, 2]], w.max(dim=0).values, torch.zeros_like(w), -w, w > 3):  # fmt: skip
        assert type(plain) is torch.Tensor
    for view in (w[1:], w[0, 0], w.T, w.view(-1), w.reshape(12), w.detach(), w.data, w.unbind()[1], w.split(2)[0],
                 w.expand(2, 3, 4), w.diagonal(), w.view(torch.int32), w.to(torch.float32)):  # fmt: skip
        assert isinstance(view, Shelved) and view.name == "w"
        assert w.addr <= view.addr < w.addr + 48
    w[1:].fill_(0)
    assert shelf.w.sum() == 6
    assert w.add_(1) is w and w.mul_(2) is w and torch.add(w, 1, out=w) is w
    assert shelf.w is w and w[2, 2] == 3


def test_in_place_stays_and_is_kept(namespace):
    with pymm.shelf("x", pmem_path=namespace, size_mb=8) as s:
        s.w = torch.zeros(4, 4)
        w = s.w
        s.w += 1
        s.w *= 3
        s["w"] -= 1
        s.w[1] += 5
        s.w.fill_diagonal_(9)
        assert s.w is w
        expected = torch.full((4, 4), 2.0)
        expected[1] += 5
        expected.fill_diagonal_(9)
        assert torch.equal(w, expected)
        s.h = torch.zeros(3)
        s.h.fill(4)
    with pymm.shelf("x", pmem_path=namespace) as s:
        assert same(s.w, expected)
        assert s.h.tolist() == [4, 4, 4]


PERSISTS = """
import sys, pymm, torch
s = pymm.shelf("x", pmem_path=sys.argv[1], size_mb=8)
s.w = torch.zeros(2000)
w = s.w
calls = []
real = type(w)._persist
type(w)._persist = lambda self, view: (calls.append(view.numel()), real(self, view))
s.w += 1; assert calls == [2000], calls
w.add_(1); assert calls == [2000], calls
s.w = w; assert calls == [2000] * 2, calls
s["w"] = w.detach(); assert calls == [2000] * 3, calls
w[5:7].persist(); assert calls == [2000] * 3 + [2], calls
s.w = torch.zeros(2000); assert len(calls) == 4 and s.w is not w
print("ok")
"""


def test_assigning_the_variable_to_itself_persists_and_copies_nothing(namespace, child):
    assert child(PERSISTS, namespace).finish() == "ok"


def test_a_view_of_itself_is_refused(shelf):
    shelf.x = torch.arange(6.0)
    x = shelf.x
    for view in (x[1:], x.view(2, 3), x.detach()[1:], x.as_subclass(torch.Tensor)[1:], x.view(torch.int32), x[::2]):  # fmt: skip
        with pytest.raises(RuntimeError, match="clone"):
            shelf.x = view
        with pytest.raises(RuntimeError, match="clone"):
            shelf["x"] = view
    assert shelf.x is x and x.tolist() == [0, 1, 2, 3, 4, 5]
    shelf.y = x[1:]  # another variable: a copy
    shelf.x = x[1:].clone()
    assert shelf.x.tolist() == shelf.y.tolist() == [1, 2, 3, 4, 5]
    shelf.x = x[1:]  # x is the former value by now
    assert shelf.x.tolist() == [1, 2, 3, 4, 5]
    shelf.z = torch.tensor([1 + 2j])
    with pytest.raises(RuntimeError):
        shelf.z = shelf.z.conj()
    shelf.z = shelf.z.conj().resolve_conj()
    assert shelf.z[0] == 1 - 2j


def test_layouts(twice):
    image = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    value = torch.arange(24.0).reshape(2, 3, 4)
    cases = {
        "image": (image, image.stride()),
        "turned": (value.permute(2, 0, 1), value.permute(2, 0, 1).stride()),
        "sliced": (value[:, ::2, 1:], (6, 3, 1)),
        "expanded": (torch.ones(3).expand(2, 3), (3, 1)),
        "one": (torch.ones(6)[::2].as_strided((1, 3), (1 << 61, 1)), None),
        "huge": (torch.ones(6).as_strided((1, 3, 2), (1 << 61, 1, 3)), None),
        "conj": (torch.view_as_complex(torch.randn(4, 2)).conj(), (1,)),
        "neg": (torch.view_as_complex(torch.randn(4, 2)).conj().imag, None),
        "strided": (torch.arange(24.0)[::3], (1,)),
    }
    for s in twice():
        for name, (tensor, strides) in cases.items():
            if name not in s:
                s[name] = tensor
            assert torch.equal(s[name], tensor.resolve_neg().resolve_conj()), name
            assert strides is None or s[name].stride() == strides, name
            assert not s[name].is_conj() and not s[name].is_neg()
        assert s.image.is_contiguous(memory_format=torch.channels_last)


def test_what_is_refused(shelf):
    shelf.x = 7
    class Other(torch.Tensor):
        pass

    refused = [
        torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr(), torch.zeros(3, device="meta"),
        torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8), torch.zeros(3).as_subclass(Other),
        torch.nn.parameter.UninitializedParameter(), torch._efficientzerotensor((3,)),
        torch.zeros(3, dtype=torch.uint8).view(torch.bits8),
    ]  # fmt: skip
    used = shelf.used
    for value in refused:
        with pytest.raises(TypeError, match="'x'"):
            shelf.x = value
        with pytest.raises(TypeError, match="'b'"), shelf.batch() as b:
            b["b"] = value
    assert shelf.x == 7 and shelf.used == used and len(shelf) == 1


def test_parameters_and_batches(shelf):
    shelf.p = torch.nn.Parameter(torch.ones(3))
    assert type(shelf.p) is Shelved and shelf.p.requires_grad
    with shelf.batch() as b:
        b["a"] = torch.ones(2)
        b["z"] = pymm.torch_tensor((2, 2))
        b["c"] = shelf.p
    assert shelf.a.tolist() == [1, 1] and shelf.z.sum() == 0 and shelf.c.tolist() == [1, 1, 1]
    with pytest.raises(ZeroDivisionError), shelf.batch() as b:
        b["never"] = torch.ones(2)
        1 / 0
    assert "never" not in shelf


def test_copies_are_plain(shelf):
    shelf.w = torch.arange(4.0)
    w = shelf.w
    buffer = io.BytesIO()
    torch.save({"w": w}, buffer)
    for twin in (copy.copy(w), copy.deepcopy(w), pickle.loads(pickle.dumps(w)), w.clone(),
                 torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)["w"]):  # fmt: skip
        assert type(twin) is torch.Tensor and torch.equal(twin, w) and twin.data_ptr() != w.data_ptr()
    shelf.g = torch.ones(2, requires_grad=True)
    shelf.g.sum().backward()
    twin = copy.deepcopy(shelf.g)
    assert twin.requires_grad and twin.grad.tolist() == [1, 1]
    # As two names of one thing stay one.
    pair = copy.deepcopy([shelf.g, shelf.g])
    assert pair[0] is pair[1]
    assert shelf.g.untyped_storage().data_ptr() == shelf.g.addr  # still there


def test_it_cannot_be_given_other_memory_or_another_shape(shelf):
    shelf.w = torch.ones(2, 3)
    w = shelf.w

    def data(value):
        w.data = value

    for change in (
        lambda: data(torch.zeros(2, 3)), lambda: w.set_(torch.zeros(3)), lambda: w.t_(), lambda: w.resize_(1, 3),
        lambda: w.unsqueeze_(0), lambda: w.squeeze_(), lambda: w.share_memory_(), lambda: w.transpose_(0, 1),
        lambda: w.as_strided_((2,), (1,)), lambda: w.resize_(100, 100),
    ):  # fmt: skip
        with pytest.raises(RuntimeError):
            change()
    data(w.data)  # the same
    assert tuple(shelf.w.shape) == (2, 3) and w.data_ptr() == w.addr
    view = w.view(3, 2)
    view.t_()
    assert tuple(view.shape) == (2, 3) and tuple(w.shape) == (2, 3)


def test_replaced_erased_renamed(shelf):
    shelf.w = torch.ones(3)
    w = shelf.w
    shelf.w = torch.zeros(2)
    assert shelf.w.tolist() == [0, 0] and w.tolist() == [1, 1, 1]
    with pytest.raises(ValueError):
        shelf.erase(w)
    with pytest.raises(ValueError, match="view"):
        shelf.erase(shelf.w[:1])
    shelf.erase(shelf.w)
    assert "w" not in shelf
    shelf.a = torch.ones(3)
    shelf.rename("a", "b")
    shelf.copy("b", "c")
    assert shelf.b.name == "b" and type(shelf.c) is Shelved and torch.equal(shelf.b, shelf.c)
    shelf.c = np.ones(2)
    assert isinstance(shelf.c, np.ndarray)
    shelf.c = torch.ones(2)
    assert type(shelf.c) is Shelved
    del shelf.c
    assert not hasattr(shelf, "c")
    with pytest.raises(TypeError):
        shelf.erase(torch.ones(3))


def test_lifetime(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.w = torch.arange(1000.0)
    w, view = s.w, s.w[500:]
    plain = view.as_subclass(torch.Tensor)
    s.close()
    assert w.sum() == 499500
    del w
    assert view[0] == 500
    del view
    # A plain tensor of the same memory holds it, too.
    assert plain[0] == 500
    with pytest.raises(pymm.BusyError):
        pymm.shelf("x", pmem_path=namespace, mode="w", size_mb=8)
    del plain
    pymm.shelf("x", pmem_path=namespace, mode="w", size_mb=8).close()


@pytest.mark.parametrize("count", [3, 5000, 300_000])
def test_read_only_shelves(namespace, count):
    with pymm.shelf("x", pmem_path=namespace, size_mb=16) as s:
        s.w = torch.arange(float(count))
    reader = pymm.shelf("x", pmem_path=namespace, mode="r")
    w = reader.w
    assert type(w) is Shelved and torch.equal(w, torch.arange(float(count)))
    w.add_(1)  # private
    assert w[0] == 1 and reader.w[0] == 0
    with pytest.raises(pymm.ReadOnlyError):
        w.persist()
    with pytest.raises(pymm.ReadOnlyError):
        w.fill(3)
    with pytest.raises(pymm.ReadOnlyError):
        reader.w = w
    reader.close()
    assert w[1] == 3
    with pymm.shelf("x", pmem_path=namespace) as s:
        assert torch.equal(s.w, torch.arange(float(count)))


def test_sealed_variables(shelf):
    shelf.w = torch.ones(5000)
    kept = shelf.w
    with pytest.raises(pymm.PinnedError):
        shelf.seal("w")
    assert shelf.w is kept
    del kept
    shelf.seal("w")
    w = shelf.w
    w.add_(1)
    assert pymm.torch_tensor.asndarray(shelf, "w")[0] == 1
    with pytest.raises(pymm.ReadOnlyError):
        shelf.w += 1
    with pytest.raises(pymm.ReadOnlyError):
        shelf.w = torch.zeros(2)
    del w
    shelf.erase(shelf.w)
    assert "w" not in shelf


def test_a_reader_sees_what_the_writer_commits(namespace, child):
    code = """
        import sys, torch, pymm
        s = pymm.shelf("x", pmem_path=sys.argv[1], mode="r")
        while True:
            line = sys.stdin.readline()
            if not line: break
            print(s.w.dtype, s.w.sum().item(), flush=True)
    """
    with pymm.shelf("x", pmem_path=namespace, size_mb=16) as s:
        s.w = torch.ones(5000)
        reader = child(code, namespace)
        reader.tell()
        assert reader.line() == "torch.float32 5000.0"
        s.w += 1
        reader.tell()
        assert reader.line() == "torch.float32 10000.0"
        s.w = torch.ones(3, dtype=torch.float64)
        reader.tell()
        assert reader.line() == "torch.float64 3.0"


def test_in_a_forked_child(shelf):
    shelf.w = torch.zeros(5000)
    w = shelf.w
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            w[0] = 5
            try:
                w.persist()
            except pymm.ClosedError:
                code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert w[0] == 0


def test_without_pytorch(namespace, child):
    with pymm.shelf("x", pmem_path=namespace, size_mb=8) as s:
        s.w = torch.arange(4.0)
        s.b = torch.ones(3, dtype=torch.bfloat16)
    code = """
        import sys
        sys.modules["torch"] = None
        import pymm
        s = pymm.shelf("x", pmem_path=sys.argv[1])
        for attempt in (lambda: s.w, lambda: s["b"], lambda: pymm.torch_tensor((3,)),
                        lambda: pymm.torch_tensor.shelved_torch_tensor):
            try: attempt()
            except ImportError as error: assert "asndarray" in str(error) and error.name == "torch"
            else: sys.exit("no error")
        w = pymm.torch_tensor.asndarray(s, "w")
        w += 1
        assert w.tolist() == [1, 2, 3, 4], w
        b = pymm.torch_tensor.asndarray(s, "b")
        assert b.dtype == "u2" and (b == 0x3f80).all()
        del s.b
        s.n = 5
        assert s.items == ["n", "w"] and "float" not in repr(s) and "tensor <f4" in repr(s)
        print("ok")
    """
    assert child(code, namespace).finish() == "ok"
    with pymm.shelf("x", pmem_path=namespace) as s:
        assert s.w.tolist() == [1, 2, 3, 4]


def test_import_pymm_imports_no_torch():
    code = "import sys, pymm; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_shown(shelf):
    shelf.w = torch.ones(2, 3, requires_grad=True)
    assert "tensor <f4 requires_grad" in repr(shelf) and "(2, 3)" in repr(shelf)
    assert "tensor <f4 requires_grad (2, 3)" in shelf.inspect()
    assert "1." in repr(shelf.w) and f"{shelf.w.detach()[0, 0]:.3f}" == "1.000"
    assert {"pymm.torch_tensor", "torch.Tensor"} <= set(shelf.supported_types())
    assert "(2, 3)" in repr(pymm.torch_tensor((2, 3)))


def test_persist_offset(shelf):
    shelf.w = torch.zeros(10)
    shelf.w[3] = 1
    shelf.w.persist_offset(3, 1)
    shelf.w[2:5].persist_offset(0, 3)
    for wrong in ((-1, 1), (0, 11), (10, 1)):
        with pytest.raises(IndexError):
            shelf.w.persist_offset(*wrong)
    with pytest.raises(ValueError):
        shelf.w[::2].persist_offset(0, 1)


def test_other_devices_are_copied(shelf):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    shelf.w = torch.ones(3, device="cuda")
    assert shelf.w.device.type == "cpu" and shelf.w.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "dtype, itemsize, shape, strides",
    [
        ("qint8", 1, (4,), (1,)), ("int4", 1, (4,), (1,)), ("Tensor", 1, (4,), (1,)), ("<f4 x", 4, (1,), (4,)),
        ("<f4", 2, (2,), (2,)), ("|u1 requires_grad", 1, (4,), (1,)), ("<i4", 4, (1,), (3,)), ("|O", 4, (1,), (4,)),
        ("<f4 requires_grad requires_grad", 4, (1,), (4,)), (">f4", 4, (1,), (4,)), ("bfloat16", 1, (4,), (1,)),
    ],
)  # fmt: skip
def test_a_shelf_from_elsewhere(shelf, dtype, itemsize, shape, strides):
    shelf._state.handle.put_tensor("x", b"\0" * 4, dtype, itemsize, shape, strides)
    with pytest.raises(pymm.CorruptError, match="'x'"):
        shelf.x
    shelf._state.handle.put_tensor("y", b"", "<f4", 4, (1 << 62, 0, 1 << 62), (0, 0, 0))
    try:
        assert shelf.y.numel() == 0
    except pymm.CorruptError:
        pass  # no tensor of PyTorch's is so long, though it has no elements
    shelf._state.handle.put_tensor("z", b"\0" * 8, "<f4", 4, (2,), (0,))
    assert shelf.z.tolist() == [0, 0]


def test_fsck_and_the_checksum(namespace):
    with pymm.shelf("x", pmem_path=namespace, size_mb=8, checksum=True) as s:
        s.w = torch.randn(100, 100)
        s.b = torch.ones(3, dtype=torch.bfloat16)
    report = pymm.fsck(namespace, scrub=True)
    assert report.clean and report["x"].scrubbed == 2
