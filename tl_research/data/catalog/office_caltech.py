"""Office-Caltech-10: object photographs of four origins as SURF bags of words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_research.config import check_choice
from tl_research.data.catalog._transductive import TransductiveConfig
from tl_research.data.domain import Domain
from tl_research.data.fetch import RemoteFile, ensure
from tl_research.data.readers.features import read_features
from tl_research.registry import register_dataset

CLASSES = (
    "backpack", "bike", "calculator", "headphones", "keyboard", "laptop", "monitor", "mouse", "mug", "projector",
)  # fmt: skip
ROWS = ("counts", "zscore", "zscore_unit")


def _file(name: str, size: int, sha256: str) -> RemoteFile:
    return RemoteFile(
        name=f"{name}_SURF_L10.mat",
        repo="chamwen/JPDA",
        commit="b056e5eca625fc480aa605242348809f9199d5f8",
        path=f"data/Office/{name}_SURF_L10.mat",
        bytes=size,
        sha256=sha256,
        mirror_folder="office_caltech10_surf",
    )


FILES = {
    "amazon": _file("amazon", 104_970, "df32548b994e18d364c99e1f317e1fae100597259f0423a41b90f4f68187bb1f"),
    "caltech": _file("caltech", 150_751, "4f9334c8ced489d5054de97a5fd51a61f017f3bcd1f38c9a85c6d78cb9d7bda5"),
    "dslr": _file("dslr", 18_348, "44d673c68e1d07b837893aa74dba3b986e4a6cc3fd66f0dd357683bdef059216"),
    "webcam": _file("webcam", 32_406, "a6a9c78b4b7181dfbb58bcfd351d4ebd737f171c31247b8884948aa156d3f700"),
}


@dataclass
class OfficeCaltechConfig(TransductiveConfig):
    """Group `data` of `office_caltech`."""

    name: str = "office_caltech"
    rows: str = "zscore"  # counts; zscore: rows to sum 1, columns z-scored by domain; zscore_unit: rows to length 1 too

    def __post_init__(self):
        super().__post_init__()
        check_choice("data.rows", self.rows, ROWS)


@register_dataset(
    "office_caltech",
    config=OfficeCaltechConfig,
    domains=tuple(FILES),
    default=("caltech", "amazon"),
    metric="accuracy",
    encoder="identity",
    paper="Gong et al. 2012, CVPR; the files and the protocol of Long et al. 2013, ICCV",
    licence="none stated; research benchmark",
)
def load(config: OfficeCaltechConfig, names: list[str]) -> dict[str, Domain]:
    """Office-Caltech-10: photographs from Amazon, Caltech-256, a DSLR and a webcam, ten classes, 800 SURF words.

    Each row is scaled to sum 1 and each column is then z-scored by the statistics of its own domain (all of its
    rows, which the transductive protocol shows unlabelled), as in Long et al. 2013; `zscore_unit` scales each row to
    unit length after that. 958, 1,123, 157 and 295 rows.
    """
    folder = ensure("office_caltech", [FILES[name] for name in names], config.root)
    return {name: _domain(name, folder / FILES[name].name, config.rows) for name in names}


load.files = list(FILES.values())


def _domain(name: str, path, rows: str) -> Domain:
    counts, label = read_features(path)
    x = np.asarray(counts, dtype=np.float64)
    if rows != "counts":
        x = x / x.sum(axis=1, keepdims=True)
        std = x.std(axis=0, ddof=1)
        x = (x - x.mean(axis=0)) / np.where(std > 0, std, 1.0)
    if rows == "zscore_unit":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return Domain(
        name, x.astype(np.float32), label.astype(np.int64) - 1, CLASSES, origin=str(path), info={"rows": len(x)}
    )
