"""Office-10: object photographs of three origins as GoogLeNet features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from omegaconf import II

from tl_research.config import check, check_choice
from tl_research.data.catalog._transductive import TransductiveConfig
from tl_research.data.catalog.office_caltech import CLASSES
from tl_research.data.domain import Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.data.readers.features import read_features
from tl_research.registry import register_dataset

#: Source rows per class in the protocol of the files' authors.
FEW = {"amazon": 20, "dslr": 8, "webcam": 8}


def _file(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(
        name=f"{name}.mat",
        repo="LeoGautheron/OfficeCaltechDomainAdaptation",
        commit="0bcf68398284dbef34b04b70e5b897815b11147b",
        path=f"features/GoogleNet1024/{name}.mat",
        bytes=size,
        sha256=sha256,
        mirror_folder="office10_googlenet1024",
    )


FILES = {
    "amazon": _file("amazon", 3_931_880, "bae9ee6e8f7ca305120dd970f2c90471f4ef8dda4cb2ad2404c38bb26cb56ba9"),
    "dslr": _file("dslr", 644_576, "5f7c6211581f846b7b5534429fb62bfb7e490e88aacfc8bee97eb0b0224dbd89"),
    "webcam": _file("webcam", 1_210_928, "57774bbdf97433b5fb5a6333e302f077444c069537138b60ef417f48ee65d296"),
}


@dataclass
class Office10GooglenetConfig(TransductiveConfig):
    """Group `data` of `office10_googlenet`."""

    name: str = "office10_googlenet"
    transductive: bool = False
    source_rows: str = "all"  # or few: 20 per class of amazon, 8 of dslr and webcam, drawn by data.draw
    draw: int = II("seed")  # the run's seed: a suite over ten seeds is the ten draws of the protocol

    def __post_init__(self):
        super().__post_init__()
        check_choice("data.source_rows", self.source_rows, ("all", "few"))
        check(not isinstance(self.draw, int) or self.draw >= 0, "data.draw", self.draw, "0 or more")


@register_dataset(
    "office10_googlenet",
    config=Office10GooglenetConfig,
    domains=tuple(FILES),
    default=("amazon", "webcam"),
    metric="accuracy",
    encoder="mlp",
    paper="Saenko et al. 2010, ECCV; GoogLeNet features (Szegedy et al. 2015, CVPR) and protocol of Gautheron 2017",
    licence="none stated; research benchmark",
)
def load(config: Office10GooglenetConfig, names: list[str]) -> dict[str, Domain]:
    """Office-10: photographs from Amazon, a DSLR and a webcam, ten classes, 1,024 GoogLeNet features.

    958, 157 and 295 rows. The protocol of the files' authors is `source_rows=few`, `transductive=true`, ten draws.
    """
    folder = ensure("office10_googlenet", [FILES[name] for name in names], config.root)
    return {name: _domain(name, folder / FILES[name].name, config) for name in names}


load.files = list(FILES.values())


def _domain(name: str, path, config: Office10GooglenetConfig) -> Domain:
    x, label = read_features(path)
    label, info = label.astype(np.int64) - 1, {"rows": len(label)}
    if config.source_rows == "few" and name != config.target:
        random = np.random.default_rng([int(config.draw), list(FILES).index(name)])
        kept = [random.choice(np.flatnonzero(label == code), FEW[name], replace=False) for code in range(len(CLASSES))]
        rows = np.sort(np.concatenate(kept))
        info = {"rows": len(rows), "rows_not_drawn": len(label) - len(rows)}
        x, label = x[rows], label[rows]
    return Domain(name, np.asarray(x, dtype=np.float32), label, CLASSES, origin=str(path), info=info)
