"""mat files before scipy reads them: packed arrays are looked at, so that a small file cannot fill the memory."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from tl_research.data.readers.paths import LARGEST_UNPACKED, refuse_bomb

_COMPRESSED = 15
_CHUNK = 1 << 20


def refuse_mat_bomb(file: Path, origin: str) -> None:
    """Raise `DataError` for a mat file of version 5 whose packed arrays are beyond the bounds of `paths.refuse_bomb`.

    Anything that is wrong with the file otherwise is left to the reader.
    """
    if file.stat().st_size * 1032 <= LARGEST_UNPACKED:  # what zlib can do at most
        return
    with open(file, "rb") as stream:
        order = {b"IM": "<", b"MI": ">"}.get(stream.read(128)[126:])
        while order and len(tag := stream.read(8)) == 8:
            kind, size = struct.unpack(f"{order}II", tag)
            if kind != _COMPRESSED:
                stream.seek(size, 1)
                continue
            unpack, given, made = zlib.decompressobj(), 0, 0
            left = size
            while left > 0 and (packed := stream.read(min(_CHUNK, left))):
                left -= len(packed)
                given += len(packed)
                while packed:
                    try:
                        made += len(unpack.decompress(packed, _CHUNK))
                    except zlib.error:
                        return
                    packed = unpack.unconsumed_tail
                    refuse_bomb(made, given - len(packed), origin)
