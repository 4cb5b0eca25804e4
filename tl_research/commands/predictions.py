"""Commands over new files: evaluate, predict."""

from __future__ import annotations

from pathlib import Path

from tl_research.commands.remarks import print_remarks
from tl_research.errors import UserError


def evaluate(arguments) -> int:
    from tl_research.evaluation import evidence
    from tl_research.evaluation.metrics import classification_metrics, regression_metrics

    predictor, domain = _load_for_prediction(arguments, need_label=True)
    label = _as_tensor(domain.label)
    prediction = None
    if predictor.regression:
        prediction = predictor.values(domain.inputs)
        metrics = regression_metrics(prediction, label)
    else:
        metrics = classification_metrics(predictor.logits(domain.inputs), label)
    metric = evidence.shown_metric(predictor.data.name, regression=predictor.regression)
    facts = evidence.evaluated(metrics, domain.label, predictor.classes, metric, prediction)
    figure = evidence.figure_said(facts, "file", metrics.get(metric))
    said = f"{evidence.rows_said(facts)} of {arguments.data}, weights of epoch {predictor.epoch}"
    print(f"{said}; {figure}" if figure else said)
    for name, value in metrics.items():
        print(f"{name:20s} {value:.4f}")
    print_remarks(evidence.remarks_on(facts, "file", metrics, arguments.data))
    return 0


def predict(arguments) -> int:
    import pandas as pd

    from tl_research.files import write_atomically

    if Path(arguments.out).suffix not in (".parquet", ".csv"):
        raise UserError(f"--out: got {arguments.out!r}, wants a name that ends in .parquet or .csv")
    predictor, domain = _load_for_prediction(arguments, need_label=False)
    frame = pd.DataFrame({"row": range(len(domain))})
    if predictor.regression:
        frame["prediction"] = predictor.values(domain.inputs).numpy()
    else:
        probabilities = predictor.probabilities(domain.inputs).numpy()
        frame["prediction"] = [predictor.classes[code] for code in probabilities.argmax(1)]
        for code, name in enumerate(predictor.classes):
            frame[f"p_{name}"] = probabilities[:, code]
    if arguments.out.endswith(".parquet"):
        write_atomically(arguments.out, frame.to_parquet(index=False))
    else:
        write_atomically(arguments.out, frame.to_csv(index=False))
    print(f"{len(frame)} predictions in {arguments.out}")
    return 0


def _load_for_prediction(arguments, *, need_label: bool):
    from tl_research.data.readers.domain_file import read_domain_file
    from tl_research.data.readers.features import SVMLIGHT_ENDINGS, with_columns
    from tl_research.predictor import Predictor
    from tl_research.registry import DATASETS

    predictor = Predictor.load(arguments.run)
    data = predictor.data
    # Columns that training left out are left out here too, where the file has them at all.
    left_out = [*getattr(data, "drop", ()), *filter(None, [getattr(data, "domain_column", None)])]
    read_new_rows = getattr(DATASETS.get(data.name).target, "read_new_rows", None)
    if read_new_rows is not None:
        domain = read_new_rows(arguments.data, data, tuple(predictor.classes), label=arguments.label)
    else:
        domain = read_domain_file(
            arguments.data,
            arguments.label or data.label,
            classes=tuple(predictor.classes),
            label_required=need_label,
            drop=left_out,
            categorical=list(getattr(data, "categorical", ())),
        )
    if arguments.data.lower().endswith(SVMLIGHT_ENDINGS) and hasattr(predictor.transform, "width"):
        # Such a file names only columns that are not 0.
        domain.inputs = with_columns(domain.inputs, predictor.transform.width, arguments.data)
    if need_label and not domain.has_label.all():
        raise UserError(f"{arguments.data}: no label column to evaluate on; name it with --label")
    print_remarks(domain.remarks)
    return predictor, domain


def _as_tensor(label):
    import torch

    return torch.from_numpy(label)
