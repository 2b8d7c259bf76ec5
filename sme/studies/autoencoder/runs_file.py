"""The losses and curvatures of many runs in a file, with its checksum and whose they are."""

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sme.common.errors import SMEError, reason
from sme.common.storage.files import read_bytes, sha, write_bytes

LIMIT = 2**30
"""bytes of such a file, packed and unpacked"""
Curves = tuple[Float[np.ndarray, "steps runs"], Float[np.ndarray, "looks runs"]]
"""losses, and step size × curvature"""


def write(path: Path, owner: str, losses: np.ndarray, edges: np.ndarray) -> None:
    """Keep them as those of their `owner`: the name of their map, and their number in it."""
    made = io.BytesIO()
    np.savez_compressed(made, losses=losses, edges=edges, owner=np.array(owner), sha256=np.array(_sha(owner, losses, edges)))
    write_bytes(path, made.getvalue())


def read(path: Path, owner: str, shape: tuple[int, int]) -> Curves:
    """The losses, of this shape, and the curvatures; a file of before does not say whose they are.

    Raises
    ------
    SMEError
        if they are not whole, or another's.
    """
    try:
        content = read_bytes(path, LIMIT)
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(each.file_size for each in packed.infolist()) > LIMIT:
                raise ValueError(f"unpacked it is larger than {LIMIT} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            losses, edges = file["losses"], file["edges"]
            found, told = (str(file[name]) if name in file else None for name in ("owner", "sha256"))
            names = set(file.files)
        if losses.shape != shape or edges.shape[1:] != shape[1:] or {losses.dtype.kind, edges.dtype.kind} != {"f"}:
            raise ValueError(f"losses of shape {losses.shape} for {shape}")
        if names != {"losses", "edges"} and told != _sha(str(found), losses, edges):
            raise ValueError("its numbers are not those that were written")
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, NotImplementedError, RuntimeError, IndexError,
            zipfile.BadZipFile, zlib.error) as fault:
        raise SMEError(f"{path} does not hold whole runs ({reason(fault)}), and they are computed again") from fault
    if found not in (None, owner):
        raise SMEError(f"{path} holds the runs of {found}, not of {owner}, and they are computed again")
    return losses, edges


def _sha(owner: str, *arrays: np.ndarray) -> str:
    return sha(owner.encode() + b"".join(np.ascontiguousarray(each).tobytes() for each in arrays))
