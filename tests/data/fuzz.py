"""Hostile files for the readers; run by `test_fuzz_readers.py` in a process of its own.

    python -m tests.data.fuzz FIRST LAST

Reads the inputs FIRST to LAST - 1 and prints two lines of JSON each: its number before it is read, then what came.
Each input is a pure function of its number.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import resource
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
import scipy.sparse as sp
from PIL import Image
from sklearn.datasets import dump_svmlight_file

from tl_research.data.readers.domain_file import read_rows
from tl_research.data.readers.images import read_image
from tl_research.errors import DataError

INPUTS = 2000
#: Beside what the process takes after its imports.
MOST_BYTES = 2**30
#: No valid file is larger, so that no input takes long.
MOST_FILE = 1 << 16
_SIZE = 16
#: What edits of text put in.
_TOKENS = (
    *b',;|\t"\n\r \0#:\\-+.%',
    b'""',
    b"\r\n",
    b'"\n',
    b"NA",
    b"1e999",
    b"-1",
    b"99999999999999999999",
    b"\xff",
    b"\xef\xbb\xbf",
)
_TOKENS = tuple(bytes([token]) if isinstance(token, int) else token for token in _TOKENS)


def main(first: int, last: int) -> None:
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number in range(first, last):
            print(json.dumps({"number": number}), flush=True)
            name, data = hostile_file(number)
            Path(name).write_bytes(data)
            came = read(name)
            Path(name).unlink()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - base
            print(json.dumps({"number": number, "name": name, "came": came, "peak": peak}), flush=True)


def read(name: str) -> str:
    """Read a file as the commands do: `read`, a refusal that names the file, or what is wrong about the answer."""
    try:
        if name.endswith((".png", ".jpg", ".gif", ".webp", ".bmp")):
            pixels = read_image(name, _SIZE, name)
            return "read" if pixels.shape == (_SIZE, _SIZE, 3) and pixels.dtype == np.uint8 else f"image {pixels.shape}"
        drop = ["list", "day"] if name.startswith("nested") else []
        rows, _ = read_rows(name, "y", label_required=False, drop=drop, columns_required=False)
        return "read" if len(rows) > 0 and rows.inputs.shape[1] > 0 else f"rows of shape {rows.inputs.shape}"
    except DataError as error:
        said = str(error)
        if name not in said or len(said) > 2000 or "\n" in said:
            return f"a message without its file, or not one line: {said!r}"
        return "refused"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def hostile_file(number: int) -> tuple[str, bytes]:
    """Name and bytes of one input: a valid file that is edited, or noise behind the first bytes of its kind."""
    rng = np.random.default_rng(number)
    names = sorted(VALID)
    name = names[number % len(names)]
    packed = name.endswith(".gz")
    edit_packed = packed and rng.integers(3) == 0
    data = gzip.compress(VALID[name], mtime=0) if edit_packed else VALID[name]
    kind = rng.integers(8)
    if kind == 0:
        keep = data[: int(rng.choice([0, 0, 4, 8, 16, 128]))]
        data = keep + rng.integers(0, 256, rng.integers(0, 400), dtype=np.uint8).tobytes()
    elif kind == 1:
        data = data[: rng.integers(len(data))]
    elif kind == 2:  # a part twice, left out or in another place
        one, two, at = sorted(rng.integers(0, len(data), 3))
        data = data[:one] + data[two:] if rng.integers(2) else data[:at] + data[one:two] + data[at:]
    elif kind >= 3 and name.startswith("text") and not edit_packed:
        for _ in range(rng.integers(1, 6)):
            at = rng.integers(len(data))
            data = data[:at] + _TOKENS[rng.integers(len(_TOKENS))] + data[at + rng.integers(2) :]
    else:
        edited = bytearray(data)
        for _ in range(2 ** rng.integers(0, 5) if kind % 2 else 1):
            at = rng.integers(len(edited))
            if kind < 6:
                edited[at] = rng.integers(256) if kind < 5 else edited[at] ^ (1 << rng.integers(8))
            else:  # numbers at their bounds: lengths, counts, offsets
                edited[at : at + 4] = rng.choice([b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\x80"])
        data = bytes(edited)
    return name, gzip.compress(data, mtime=0) if packed and not edit_packed else data


def _valid_files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    n = 40
    frame = pd.DataFrame(
        {
            "price": rng.normal(size=n).round(3),
            "stock": rng.integers(0, 9, n),
            "city": rng.choice(["Oslo", "Rome, IT", 'the "Big" one', "two\nlines"], n),
            "member": rng.choice([True, False], n),
            "y": np.arange(n) % 2,
        }
    )
    frame.loc[3, "city"] = None
    wide = pa.table(
        {
            **{name: pa.array(frame[name]) for name in frame},
            "code": pa.array(["a", None] * (n // 2)).dictionary_encode(),
            "big": pa.array([2**60 + 1, None] * (n // 2)),
            "day": pa.array(np.arange(n).astype("M8[D]")),
            "list": pa.array([[1, 2]] * n),
        }
    )
    x, y = rng.normal(size=(n, 5)), np.arange(n) % 2
    files = {
        "text.csv": frame.to_csv(index=False).encode(),
        "text-all.tsv": frame.to_csv(index=False, sep="\t", quoting=1).encode(),
        "text.csv.gz": frame.to_csv(index=False, sep=";").encode(),
        "text16.csv": frame.to_csv(index=False).encode("utf-16"),
        "text.svmlight": _written(lambda stream: dump_svmlight_file(x, y, stream)),
        "text.libsvm.gz": _written(lambda stream: dump_svmlight_file(x, y, stream, zero_based=False)),
        "dense.npz": _written(lambda stream: np.savez(stream, x=x, y=y)),
        "packed.npz": _written(lambda stream: np.savez_compressed(stream, x=x, y=y.astype(str))),
        "a.mat": _written(lambda stream: scipy.io.savemat(stream, {"x": x, "y": y, "s": {"a": [1, "b"]}})),
        "packed.mat": _written(
            lambda stream: scipy.io.savemat(stream, {"x": sp.csc_matrix(x), "y": y}, do_compression=True)
        ),
        "v4.mat": _written(lambda stream: scipy.io.savemat(stream, {"x": x, "y": y}, format="4")),
    }
    sparse = sp.csr_matrix(x)
    parts = {"data": sparse.data, "indices": sparse.indices, "indptr": sparse.indptr, "shape": sparse.shape, "y": y}
    files["sparse.npz"] = _written(lambda stream: np.savez(stream, **parts))
    plain = wide.drop_columns(["day", "list"])
    for name, table, options in (
        ("plain.parquet", plain, {"compression": "none"}),
        ("plain2.parquet", plain, {"compression": "snappy", "data_page_version": "2.0", "use_dictionary": False}),
        ("nested.parquet", wide, {"compression": "zstd"}),
        ("groups.pq", plain, {"compression": "gzip", "row_group_size": 7}),
    ):
        files[name] = _written(lambda stream, table=table, options=options: pq.write_table(table, stream, **options))
    pixels = rng.integers(0, 256, (20, 24, 4), dtype=np.uint8)
    tag = Image.Exif()
    tag[0x0112] = 6
    for name, image, options in (
        ("a.png", Image.fromarray(pixels), {"exif": tag}),
        ("b.png", Image.fromarray(pixels).quantize(16), {}),
        ("c.png", Image.fromarray(pixels[..., 0].astype(np.uint16) * 257), {}),
        ("a.jpg", Image.fromarray(pixels[..., :3]), {"exif": tag}),
        ("a.gif", Image.fromarray(pixels[..., :3]), {"save_all": True, "append_images": [Image.new("RGB", (24, 20))]}),
        ("a.webp", Image.fromarray(pixels), {"exif": tag}),
        ("a.bmp", Image.fromarray(pixels[..., :3]), {}),
        ("tiff.png", Image.fromarray(pixels[..., 0].astype(np.float32) / 255), {"format": "TIFF"}),
    ):
        kind = {"jpg": "JPEG"}.get(name.split(".")[1], name.split(".")[1].upper())
        options = {"format": kind} | options
        files[name] = _written(lambda stream, image=image, options=options: image.save(stream, **options))
    assert max(map(len, files.values())) < MOST_FILE
    return files


def _written(write) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


VALID = _valid_files()

if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
