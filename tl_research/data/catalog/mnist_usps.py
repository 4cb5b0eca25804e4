"""MNIST and USPS: two collections of handwritten digits, the subsets of the closed-form papers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_research.data.catalog._transductive import TransductiveConfig
from tl_research.data.domain import Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.errors import UserError
from tl_research.registry import register_dataset

CLASSES = tuple(str(digit) for digit in range(10))
FILES = [
    RemoteFile(
        name="MNIST_vs_USPS.mat",
        repo="chamwen/JPDA",
        commit="b056e5eca625fc480aa605242348809f9199d5f8",
        path="data/MNIST_vs_USPS.mat",
        bytes=3_044_944,
        sha256="7fbb67f14af7236e18a38dc8a0a836142361e9e720e4b763a5e2db511d306d6c",
        mirror_folder="mnist_usps_jda",
    )
]
#: domain -> keys of its rows and labels in the file, which calls MNIST the source.
KEYS = {"mnist": ("Xs", "Ys"), "usps": ("Xt", "Yt")}


@dataclass
class MnistUspsConfig(TransductiveConfig):
    """Group `data` of `mnist_usps`."""

    name: str = "mnist_usps"
    scale: str = "unit"


@register_dataset(
    "mnist_usps",
    config=MnistUspsConfig,
    domains=tuple(KEYS),
    default=("usps", "mnist"),
    metric="accuracy",
    encoder="identity",
    paper="LeCun et al. 1998; Hull 1994; the 2,000 and 1,800 images of Long et al. 2013, ICCV",
    licence="MNIST commonly CC BY-SA 3.0; USPS public research data",
)
def load(config: MnistUspsConfig, names: list[str]) -> dict[str, Domain]:
    """Handwritten digits: 2,000 of MNIST, 1,800 of USPS, 16 x 16 grey values as 256 features, rows to unit length."""
    path = ensure("mnist_usps", FILES, config.root) / FILES[0].name
    return {name: _domain(name, path) for name in names}


load.files = FILES


def _domain(name: str, path) -> Domain:
    try:
        import h5py
    except ImportError:
        raise UserError("data.name=mnist_usps: its file is HDF5; pip install 'tl_research[hdf5]'") from None
    x_key, y_key = KEYS[name]
    with h5py.File(path) as file:
        x, label = np.asarray(file[x_key]), np.asarray(file[y_key]).ravel().astype(np.int64) - 1
    return Domain(name, x.astype(np.float32), label, CLASSES, origin=str(path), info={"rows": len(x)})
