"""TrAdaBoost beside pooling, the target alone and the other transfers of its kind, on markets and real tables.

    python benchmarks/tradaboost.py --out benchmarks/results/tradaboost

writes tradaboost.csv (a row per task, seed and model) and tradaboost.md (means over seeds). Every model has its default
options and is fitted once, so that the labels that `few_shot` holds out to choose an epoch are used by none. The real
tables come from TL_RESEARCH_MIRROR or the network, as everywhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from omegaconf import OmegaConf
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss, roc_auc_score

from tl_research.config import compose
from tl_research.data.paired import PairedDataModule
from tl_research.heads.linear import Logistic
from tl_research.methods.build import build_method
from tl_research.registry import METHODS
from tl_research.runs.record import write_atomically

MARKET = ("data.name=simulated_market",)
OTHER_CONCEPT = (*MARKET, "data.measurement_shift=0", "data.concept_shift=1.5708")
TASKS = {
    "market, other measurement, 10 per class": (*MARKET, "data.shots=10"),
    "market, other measurement, 100 per class": (*MARKET, "data.shots=100"),
    "market, other concept, 10 per class": (*OTHER_CONCEPT, "data.shots=10"),
    "market, other concept, 100 per class": (*OTHER_CONCEPT, "data.shots=100"),
    "hotel y2015->y2017, 100 per class": (
        "data.name=hotel_bookings", "data.sources=[y2015]", "data.target=y2017", "data.shots=100",
    ),
    "bank telephone->cellular, 100 per class": (
        "data.name=bank_marketing", "data.sources=[telephone]", "data.target=cellular", "data.shots=100",
    ),
}  # fmt: skip
#: Name in the table -> overrides of the run.
MODELS = {
    "pooled, logistic": ("method.name=shallow", "encoder.name=identity"),
    "warm_start_logistic": ("method.name=warm_start_logistic",),
    "boosting_transfer": ("method.name=boosting_transfer",),
    "tradaboost": ("method.name=tradaboost",),
    "tradaboost, domains weigh alike": ("method.name=tradaboost", "method.first_weights=domains"),
    "tradaboost, logistic, 10 rounds": ("method.name=tradaboost", "method.base=logistic", "method.rounds=10"),
}
FIGURES = ("auroc", "accuracy", "log_loss")


def fitted(task: tuple[str, ...], model: tuple[str, ...], seed: int):
    """A fitted method, its data, and the target's test rows."""
    config = compose(None, [*task, "data.setting=few_shot", f"seed={seed}", *model])
    data = PairedDataModule(
        OmegaConf.to_object(config.data), seed=seed, reads=METHODS.get(config.method.name).target.reads
    )
    data.setup()
    torch.manual_seed(seed)
    module = build_method(config, data.spec, data.outcome)
    module.seed = seed
    module.prepare(data.sides["source"], data.sides["target"], data.sides["target_labeled"])
    return module.eval(), data, data.release_evaluation()["target_test"]


def figures(probability: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """AUROC, accuracy and log loss of P(y=1) (n,)."""
    return {
        "auroc": float(roc_auc_score(label, probability)),
        "accuracy": float(((probability > 0.5) == label).mean()),
        "log_loss": float(log_loss(label, probability)),
    }


def target_alone(module, data, test, seed: int) -> dict[str, np.ndarray]:
    """P(y=1) of the test rows by models of the shown target labels alone, on the inputs of `module`."""
    with torch.no_grad():
        rows, unseen = module.encoder(data.sides["target_labeled"].inputs), module.encoder(test.inputs)
    label, head = data.sides["target_labeled"].label, Logistic()
    head.fit(rows, label, None, classes=2, seed=seed)
    forest = RandomForestClassifier(500, min_samples_leaf=2, random_state=seed).fit(rows.numpy(), label.numpy())
    return {
        "target alone, logistic": head(unseen).softmax(dim=1)[:, 1].numpy(),
        "target alone, random forest": forest.predict_proba(unseen.numpy())[:, 1],
    }


def measure(tasks: list[str], seeds: list[int]) -> pd.DataFrame:
    table = []
    for task in tasks:
        for seed in seeds:
            for name, model in MODELS.items():
                module, data, test = fitted(TASKS[task], model, seed)
                with torch.no_grad():
                    probability = module(test.inputs)[1].double().softmax(dim=1)[:, 1].numpy()
                found = {name: probability}
                if name == "pooled, logistic":
                    found |= target_alone(module, data, test, seed)
                table += [
                    {"task": task, "seed": seed, "model": key, **figures(value, test.label.numpy())}
                    for key, value in found.items()
                ]
    return pd.DataFrame(table)


def page(frame: pd.DataFrame) -> str:
    lines = ["# TrAdaBoost beside its rivals", ""]
    lines.append(f"AUROC / accuracy / log loss on the target's test rows, means over {frame['seed'].nunique()} seeds;")
    lines += ["of the labels, a fifth is held out by the setting and used by no model here. Default options.", ""]
    for task, part in frame.groupby("task", sort=False):
        means = part.groupby("model", sort=False)[list(FIGURES)].mean()
        spread = part.groupby("model", sort=False)["auroc"].std()
        lines += [f"## {task}", "", "| model | AUROC | ± | accuracy | log loss |", "|---|---:|---:|---:|---:|"]
        for model, row in means.iterrows():
            cells = f"{row['auroc']:.3f} | {spread[model]:.3f} | {row['accuracy']:.3f} | {row['log_loss']:.3f}"
            lines.append(f"| {model} | {cells} |")
        lines.append("")
    lines.append("Made by `python benchmarks/tradaboost.py`.")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="benchmarks/results/tradaboost", help="path without .csv and .md")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    frame = measure(arguments.tasks, arguments.seeds)
    Path(arguments.out).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(f"{arguments.out}.csv", frame.round(6).to_csv(index=False, lineterminator="\n"))
    write_atomically(f"{arguments.out}.md", page(frame))
    print(page(frame))


if __name__ == "__main__":
    main()
