"""safetensors files, made byte for byte: sound ones, and such as nobody writes."""

import json

import numpy as np

NUMPY = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "U32": "<u4", "I32": "<i4",
         "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8", "C64": "<c8"}  # fmt: skip


def file_of(header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def of_arrays(arrays, metadata=None):
    """A file of arrays, as others write it."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    names = {np.dtype(text): name for name, text in NUMPY.items()}
    for name, array in arrays.items():
        raw = array.tobytes()
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return file_of(header, data)


def entry(dtype="U8", shape=(4,), offsets=(0, 4), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


HOSTILE = [
    b"", b"1234567", (2**63).to_bytes(8, "little"), (2**64 - 1).to_bytes(8, "little") + b"{}", b"\0" * 8,
    file_of(b"{}", b"", 3), file_of(b"{}", b"x"), file_of(b"[]", b""), file_of(b"{", b""), file_of(b"\xff{}", b""), file_of(b" {}", b""),
    file_of(b'{"a":' * 100_000, b""), file_of(b'{"a":NaN}', b""), file_of({"a": 5}, b"abcd"), file_of({"a": {}}, b"abcd"),
    file_of(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', b"abcd"),
    file_of(b'{"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}}', b"abcd"),
    file_of(b'{"\\ud800":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', b"abcd"),
    file_of(b'{"a":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}', b"abcd"),
    file_of({"a": entry(more=1)}, b"abcd"), file_of({"a": entry(dtype=5)}, b"abcd"), file_of({"a": entry(shape=[4.0])}, b"abcd"),
    file_of({"a": entry(shape=[-4])}, b"abcd"), file_of({"a": entry(shape=[True])}, b"abcd"), file_of({"a": entry(shape=[5])}, b"abcd"),
    file_of({"a": entry(shape=[2**40, 2**40])}, b"abcd"), file_of({"a": entry(shape=[0, 2**61, 2**61], offsets=(0, 0))}, b""),
    file_of({"a": entry(shape=[1] * 65, offsets=(0, 1))}, b"a"),
    file_of({"a": entry(offsets=(0, 5), shape=[5])}, b"abcd"), file_of({"a": entry(offsets=(1, 5))}, b"abcd"),
    file_of({"a": entry(offsets=(4, 0))}, b"abcd"), file_of({"a": entry(offsets=(0, 4, 4))}, b"abcd"), file_of({"a": entry()}, b"abc"),
    file_of({"a": entry()}, b"abcde"), file_of({"a": entry(), "b": entry()}, b"abcd"), file_of({"a": entry(), "b": entry(offsets=(5, 9))}, b"abcdefghi"),
    file_of({"a": entry(), "b": entry(offsets=(2, 6))}, b"abcdef"), file_of({"a": entry(dtype="F32")}, b"abcd"),
    file_of({"a": entry(), "__metadata__": {"a": 1}}, b"abcd"), file_of({"a": entry(), "__metadata__": "x"}, b"abcd"),
    file_of({"a": entry(offsets=(0, 2**63))}, b"abcd"), file_of({"a": entry(offsets=(-4, 0))}, b"abcd"), file_of({"a": entry(offsets=("0", "4"))}, b"abcd"),
]  # fmt: skip
