"""Used cars, brand by brand: what do the other eight brands add to a few prices of one?

    python benchmarks/relational_prior.py [--targets audi bmw ...] [--seeds 0 1 ...] [--labels 20 50 200] [--out FILE]

The target's test rows are split off by the seed; the labelled rows are drawn from the rest, and all other brands' rows
are old data. Every method has the same rows. Columns are standardised, the label is the logarithm of the price. A line
of the CSV file is one brand, number of labels, seed and method: R² on the test rows, in points; lines that are there
are not made again. The end of the output is the mean over brands and seeds of n cells, and `relational_prior` minus
each method, on the cells that both have, with the 95 % interval over brands.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from scipy.stats import t as student
from sklearn.metrics import r2_score
from transfer_tasks import shots

from tl_research.alignment.base import Rows
from tl_research.config import compose
from tl_research.data.batch import Samples
from tl_research.data.matrix import as_matrix
from tl_research.data.paired import PairedDataModule
from tl_research.heads.base import Head
from tl_research.heads.regression import RidgeRegression
from tl_research.heads.relational import Group, RelationalRidge
from tl_research.portfolio.head import PortfolioConfig, PortfolioHead

BRANDS = ("audi", "bmw", "ford", "vw", "merc", "vauxhall", "toyota", "skoda", "hyundi")
FIELDS = ("target", "labels", "seed", "method", "r2")
OURS = "relational_prior"


def own_ridge(source: Samples, x: torch.Tensor, labeled: Rows, seed: int) -> Head:
    return fitted(labeled.x, labeled.label)


def pooled_ridge(source: Samples, x: torch.Tensor, labeled: Rows, seed: int) -> Head:
    return fitted(torch.cat([x, labeled.x]), torch.cat([source.label, labeled.label]))


def fitted(x: torch.Tensor, label: torch.Tensor) -> Head:
    """Return the ridge of penalty 1."""
    head = RidgeRegression(penalty=1.0)
    head.fit(x, label, None, classes=1, seed=0)
    return head


def relational_prior(source: Samples, x: torch.Tensor, labeled: Rows, seed: int) -> Head:
    relatives = [Group(x[source.domain == brand], source.label[source.domain == brand]) for brand in range(8)]
    head = RelationalRidge(penalty=1.0)
    head.fit_groups([*relatives, Group(labeled.x, labeled.label)], classes=1)
    return head


def portfolio(source: Samples, x: torch.Tensor, labeled: Rows, seed: int) -> Head:
    head = PortfolioHead(PortfolioConfig(), "regression")
    head.fit_transfer(Rows(x, source.label), labeled, classes=1, seed=seed)
    return head


METHODS: dict[str, Callable[[Samples, torch.Tensor, Rows, int], Head]] = {
    "own ridge": own_ridge,
    "pooled ridge": pooled_ridge,
    "portfolio": portfolio,
    OURS: relational_prior,
}


def measured(target: str, seed: int, wanted: list[tuple[int, str]]) -> list[tuple[int, str, float]]:
    """Return (labels, method, R² in points) of those wanted."""
    data = {"name": "used_cars", "sources": [brand for brand in BRANDS if brand != target], "target": target}
    config = compose({"data": data | {"setting": "supervised", "val_fraction": 0.01}, "method": {"name": "union"}})
    module = PairedDataModule(OmegaConf.to_object(config.data), seed=seed)
    module.setup()
    test, source, known = (
        module.release_evaluation()["target_test"],
        *map(module.sides.get, ("source", "target_labeled")),
    )
    x, u, w = (as_matrix(rows.inputs, module.spec).float() for rows in (source, known, test))
    found = []
    for labels, method in wanted:
        places = shots(known.label.numpy(), labels, seed, classes=False)
        head = METHODS[method](source, x, Rows(u[places], known.label[places]), seed)
        with torch.no_grad():
            said = head(w)[:, 0]
        found.append((labels, method, 100 * r2_score(module.outcome.scaled(test.label).numpy(), said.numpy())))
    return found


def summary(lines: list[dict[str, str]]) -> str:
    """Return the table of means, and of differences with their intervals, over the cells that both methods have."""
    cells: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for line in lines:
        cells.setdefault((line["labels"], line["method"]), {})[line["target"], line["seed"]] = float(line["r2"])
    rows = ["| labels | " + " | ".join(METHODS) + " |", "|---" * (len(METHODS) + 1) + "|"]
    for labels in sorted({labels for labels, _ in cells}, key=int):
        row, ours = [labels], cells.get((labels, OURS), {})
        for method in METHODS:
            found = cells.get((labels, method), {})
            row.append(f"{np.mean(list(found.values())):.1f} (n = {len(found)})" if found else "")
            brands = sorted({brand for brand, _ in found.keys() & ours.keys()})
            if method != OURS and len(brands) > 1:
                gains = [
                    np.mean([ours[cell] - found[cell] for cell in found.keys() & ours.keys() if cell[0] == brand])
                    for brand in brands
                ]
                half = student.ppf(0.975, len(brands) - 1) * np.std(gains, ddof=1) / len(brands) ** 0.5
                mean = np.mean(gains)
                row[-1] += f"; {mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
        rows.append("| " + " | ".join(row) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=BRANDS, default=list(BRANDS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--labels", nargs="+", type=int, default=[20, 50, 200])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/relational_prior.csv"))
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    lines = list(csv.DictReader(given.out.open())) if given.out.exists() else []
    there = {tuple(line[field] for field in FIELDS[:-1]) for line in lines}
    for target in given.targets:
        for seed in given.seeds:
            wanted = [(labels, method) for labels in given.labels for method in given.methods]
            wanted = [each for each in wanted if (target, str(each[0]), str(seed), each[1]) not in there]
            if not wanted:
                continue
            for labels, method, r2 in measured(target, seed, wanted):
                lines.append(dict(zip(FIELDS, (target, str(labels), str(seed), method, f"{r2:.2f}"), strict=True)))
            with given.out.open("w", newline="") as file:
                writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(lines)
            print(f"{target}, seed {seed}: {len(wanted)} cells", flush=True)
    print(summary(lines))


if __name__ == "__main__":
    main()
