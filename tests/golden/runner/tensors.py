# SPDX-License-Identifier: Apache-2.0
"""Reading and writing safetensors files, and how far two arrays are apart."""
import json
import struct
from pathlib import Path

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1",
          "I8": "i1", "BOOL": "?"}
NAMES = {np.dtype(value): key for key, value in DTYPES.items()}


def read_safetensors(path):
    """All tensors of a file, mapped and not read, by name."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    data = np.memmap(path, np.uint8, "r", 8 + size) if Path(path).stat().st_size > 8 + size \
        else np.zeros(0, np.uint8)
    tensors = {}
    for name, info in header.items():
        if name != "__metadata__":
            begin, end = info["data_offsets"]
            tensors[name] = data[begin:end].view(DTYPES[info["dtype"]]).reshape(info["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(array.tobytes())


def relative_error(got, want):
    """max|got - want| / max|want|; infinite where `got` holds something that is no number."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if not np.isfinite(got).all():
        return np.inf
    if not want.size:
        return 0.0
    return float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-30))


def same_until(got, want, margin, least_margin):
    """Compares two sequences up to the first step whose margin is below `least_margin`.

    Returns (number of steps compared, first wrong step among them or None).
    """
    low = np.flatnonzero(np.asarray(margin) < least_margin)
    until = min(int(low[0]) if len(low) else len(want), len(want))
    if len(got) < until:
        return until, len(got)
    wrong = np.flatnonzero(np.asarray(got[:until]) != np.asarray(want[:until]))
    return until, int(wrong[0]) if len(wrong) else None
