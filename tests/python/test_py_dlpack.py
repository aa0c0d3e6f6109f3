"""pymm.dlpack_array, and sharing the memory of a shelf by DLPack."""

import numpy as np
import pytest

import pymm

CPU = (1, 0)


class Exporter:
    """Speaks DLPack and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_recipe_of_a_shape(twice):
    for s in twice():
        if "x" not in s:
            s.x = pymm.dlpack_array((3, 4), dtype=np.float32)
            s.f = pymm.dlpack_array((3, 4), order="F")
        assert type(s.x) is pymm.dlpack_array.shelved_dlpack_array is pymm.ndarray.shelved_ndarray
        assert s.x.shape == (3, 4) and s.x.dtype == np.float32 and not s.x.any()
        assert s.f.flags.f_contiguous and s.f.dtype == np.float64


@pytest.mark.parametrize("wrap", [lambda a: a, Exporter], ids=["array", "exporter"])
@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f8", "c16"])
def test_recipe_of_an_exporter(twice, dtype, wrap):
    value = np.arange(12).astype(dtype).reshape(3, 4)
    for s in twice():
        if "x" not in s:
            s.x = pymm.dlpack_array(wrap(value))
            s.t = pymm.dlpack_array(wrap(value.T))
            s.part = pymm.dlpack_array(wrap(value[::2, 1:]))
            s.scalar = pymm.dlpack_array(wrap(np.array(5, dtype)))
            with s.batch() as b:
                b["b"] = pymm.dlpack_array(wrap(value))
        assert np.array_equal(s.x, value) and s.x.dtype == value.dtype
        assert np.array_equal(s.t, value.T) and np.array_equal(s.part, value[::2, 1:]) and np.array_equal(s.b, value)
        assert s.scalar.shape == () and s.scalar == 5


def test_what_numpy_alone_knows_can_be_stored_all_the_same(shelf):
    read_only = np.arange(3)
    read_only.flags.writeable = False
    shelf.x = pymm.dlpack_array(read_only)
    shelf.r = pymm.dlpack_array(np.zeros(2, [("a", "i4")]))
    assert shelf.x.tolist() == [0, 1, 2] and shelf.r.dtype.names == ("a",)


def test_errors(shelf):
    with pytest.raises(ValueError):
        pymm.dlpack_array(np.zeros(3), dtype=np.float32)
    with pytest.raises(ValueError):
        pymm.dlpack_array((3,), order="K")
    with pytest.raises(TypeError, match="dlpack_array"):
        shelf.x = Exporter(np.zeros(3))
    assert "x" not in shelf
    assert "dlpack_array" in repr(pymm.dlpack_array((3,)))


def test_consumers_share_the_memory(shelf):
    shelf.x = np.arange(6.0).reshape(2, 3)
    assert shelf.x.__dlpack_device__() == CPU
    y = np.from_dlpack(shelf.x)
    assert y.__array_interface__["data"][0] == shelf.x.addr
    shelf.x[1, 2] = 77
    assert y[1, 2] == 77
    assert np.from_dlpack(shelf.x[:, 1:])[1, 1] == 77
    with pytest.raises((BufferError, RuntimeError, ValueError)):
        shelf.r = np.zeros(2, [("a", "i4")])
        np.from_dlpack(shelf.r)


def test_a_consumer_keeps_the_shelf(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.x = np.arange(100_000.0)
    y = np.from_dlpack(s.x)
    s.close()
    assert y.sum() == 4999950000
    with pytest.raises(pymm.BusyError):
        pymm.shelf("x", pmem_path=namespace, mode="w", size_mb=8)
    del y
    pymm.shelf("x", pmem_path=namespace, mode="w", size_mb=8).close()


def test_a_capsule_that_nobody_takes(namespace):
    s = pymm.shelf("x", pmem_path=namespace, size_mb=8)
    s.x = np.arange(10.0)
    capsule = s.x.__dlpack__()
    s.close()
    with pytest.raises(pymm.BusyError):
        pymm.shelf("x", pmem_path=namespace, mode="w", size_mb=8)
    del capsule
    pymm.shelf("x", pmem_path=namespace, mode="w", size_mb=8).close()


@pytest.mark.parametrize("count", [3, 5000])
def test_read_only_arrays(namespace, count):
    with pymm.shelf("x", pmem_path=namespace, size_mb=8) as s:
        s.x = np.arange(float(count))
        s.empty = np.zeros((0, 3))
    with pymm.shelf("x", pmem_path=namespace, mode="r") as s:
        assert np.array_equal(np.from_dlpack(s.x), np.arange(float(count)))
        assert np.array_equal(np.from_dlpack(s.x[::-1][1:]), np.arange(float(count))[::-1][1:])
        assert np.from_dlpack(s.empty).shape == (0, 3)


@pytest.mark.parametrize("count", [3, 5000])
def test_torch_shares_and_never_crashes(namespace, count):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    with pymm.shelf("x", pmem_path=namespace, size_mb=8) as s:
        s.x = pymm.dlpack_array(torch.arange(float(count)))
        t = torch.from_dlpack(s.x)
        assert t.data_ptr() == s.x.addr
        t.add_(1)
        s.x.persist()
        del t
        # And the other way round: a tensor of the shelf, for NumPy.
        s.w = torch.ones(3)
        a = np.from_dlpack(s.w)
        s.w.add_(1)
        assert a.tolist() == [2, 2, 2]
        with pytest.raises(BufferError):
            pymm.dlpack_array(torch.ones(3, requires_grad=True))
        with pytest.raises(TypeError, match="tensor"):
            pymm.dlpack_array(torch.ones(3, dtype=torch.bfloat16))
        s.b = torch.ones(3, dtype=torch.bfloat16)
        assert torch.from_dlpack(s.b).data_ptr() == s.b.data_ptr()
    with pymm.shelf("x", pmem_path=namespace, mode="r") as s:
        t = torch.from_dlpack(s.x)
        assert torch.equal(t, torch.arange(1.0, count + 1))
        t.add_(1)  # PyTorch knows no read-only memory: what is stored stays here
        assert s.x[0] == 1 and t[0] == 2
        torch.from_dlpack(s.w).add_(1)
        assert s.w[0] == 2
