"""Texts: `compare`'s answer beside TF-IDF and logistic regression on the same target labels.

    python benchmarks/text_trap.py [--tasks NAME ...] [--labels 50 200] [--seeds 0 1 2 3 4] [--out CSV]

Of every task and seed some target rows are drawn for the test, and labels of others are shown, at random as a shop
labels. The peer sees the shown texts alone: scikit-learn's TfidfVectorizer (words and pairs of words, sublinear) and
LogisticRegression (C = 1). The answer reads latent columns that are fitted to all texts of both domains, without a
label. A cell is one line of the CSV file; cells that it has are passed over.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tl_research.alignment.base import Rows
from tl_research.config import compose
from tl_research.data.transforms.latent import LatentText
from tl_research.portfolio.head import PortfolioConfig
from tl_research.portfolio.study import learn_source, study
from tl_research.registry import DATASETS

ROOT = Path(__file__).resolve().parent
TASKS = {
    "womens_clothing tops->dresses": ("womens_clothing", "tops", "dresses"),
    "womens_clothing dresses->bottoms": ("womens_clothing", "dresses", "bottoms"),
    "fdu_reviews books->electronics": ("fdu_reviews", "books", "electronics"),
    "fdu_reviews imdb->kitchen": ("fdu_reviews", "imdb", "kitchen"),
}
COLUMNS = ("task", "labels", "seed", "peer", "new_data_only", "with_old_data", "source_linear", "gate_open", "seconds")
MOST_TESTED = 2_000


def read(name: str, source: str, target: str) -> list[tuple[list[str], np.ndarray]]:
    """Return texts and labels (0, 1) of source and target."""
    data = {"name": name, "sources": [source], "target": target}
    config = OmegaConf.to_object(compose({"data": data, "method": "portfolio", "encoder": "text_lsa"}).data)
    domains = DATASETS.get(name).target(config, [source, target])
    return [([text or "" for text in domains[each].inputs.text], domains[each].label) for each in (source, target)]


def drawn(label: np.ndarray, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the shown and of the tested rows; labels are drawn until every class has two."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(label))
    tested = order[: min(MOST_TESTED, len(order) // 2)]
    pool = order[len(tested) :]
    while True:
        shown = random.choice(pool, labels, replace=False)
        if np.bincount(label[shown], minlength=2).min() >= 2:
            return shown, tested


def peer(texts: list[str], label: np.ndarray, shown: np.ndarray, tested: np.ndarray) -> float:
    """Return the AUROC of TF-IDF and logistic regression on the shown texts alone."""
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    x = vectorizer.fit_transform([texts[row] for row in shown])
    model = LogisticRegression(max_iter=1000).fit(x, label[shown])
    score = model.decision_function(vectorizer.transform([texts[row] for row in tested]))
    return float(roc_auc_score(label[tested], score))


def cells(task: str, labels: list[int], seeds: list[int], config: PortfolioConfig, done: set[tuple[str, int, int]]):
    """Yield the lines of a task that are not done."""
    wanted = [(size, seed) for seed in seeds for size in labels if (task, size, seed) not in done]
    if not wanted:
        return
    (old, old_label), (new, new_label) = read(*TASKS[task])
    latent = LatentText.fit([old, new])
    source = Rows(torch.from_numpy(latent.transform(old)), torch.tensor(old_label))
    x, label = torch.from_numpy(latent.transform(new)), torch.tensor(new_label)
    learners = learn_source(config, "class", source, classes=2, seed=0)
    for size, seed in wanted:
        begun = time.monotonic()
        shown, tested = drawn(new_label, size, seed)
        found = study(config, "class", source, Rows(x[shown], label[shown]), learners, classes=2, seed=seed)
        auroc = {
            old_data: roc_auc_score(new_label[tested], found.combined(old_data, x[tested])[:, 1].numpy())
            for old_data in ("never", "gate")
        }
        said = learners.scores(x[tested])["linear"]
        yield {
            "task": task, "labels": size, "seed": seed, "peer": round(peer(new, new_label, shown, tested), 6),
            "new_data_only": round(auroc["never"], 6), "with_old_data": round(auroc["gate"], 6),
            "source_linear": round(roc_auc_score(new_label[tested], (said[:, 1] - said[:, 0]).numpy()), 6),
            "gate_open": found.uses_old_data("gate"), "seconds": round(time.monotonic() - begun, 1),
        }  # fmt: skip


def page(path: Path) -> str:
    """Return the table for people: means over the seeds, in percent."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = [
        "| task | labels | seeds | TF-IDF + logistic | new data only | with old data |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for task, size in dict.fromkeys((row["task"], row["labels"]) for row in rows):
        own = [row for row in rows if (row["task"], row["labels"]) == (task, size)]
        means = [100 * np.mean([float(row[name]) for row in own]) for name in COLUMNS[3:6]]
        lines.append(f"| {task} | {size} | {len(own)} | {' | '.join(f'{mean:.1f}' for mean in means)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--labels", nargs="*", type=int, default=[50, 200])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--source-rows", type=int, default=2_000, help="old rows that are read, drawn at random")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=1, help="draws of the folds")
    parser.add_argument("--out", default=str(ROOT / "results" / "text_trap.csv"))
    arguments = parser.parse_args()
    path = Path(arguments.out)
    config = PortfolioConfig(source_rows=arguments.source_rows, trees=arguments.trees, repeats=arguments.repeats)
    done = set()
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            done = {(row["task"], int(row["labels"]), int(row["seed"])) for row in csv.DictReader(file)}
    else:
        path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for task in arguments.tasks:
        for line in cells(task, arguments.labels, arguments.seeds, config, done):
            print(line, flush=True)
            with path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(line)
    print(page(path))


if __name__ == "__main__":
    main()
