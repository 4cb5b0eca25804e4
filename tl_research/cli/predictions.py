"""Commands over new files: evaluate, predict."""

from __future__ import annotations

from pathlib import Path

from tl_research.cli.recommend import predict_lists
from tl_research.cli.remarks import print_remarks
from tl_research.errors import UserError
from tl_research.storage.names import ANSWER_FILE


def evaluate(arguments) -> int:
    """Print every metric of a finished run's kept model on a file with labels. Returns the exit code.

    Raises:
        UserError: the run or the file cannot be read, or the file has no label column.
    """
    from tl_research.evaluation import evidence
    from tl_research.registry import DATASETS

    predictor, domain = _load_for_prediction(arguments, need_label=True)
    if (Path(arguments.run) / ANSWER_FILE).is_file():
        print_remarks(["this model has learnt from every row of the answer's files: measure it on other rows"])
    outcome, label = predictor.outcome, _as_tensor(domain.label)
    outputs = predictor.outputs(domain.inputs)
    metrics = outcome.metrics(outputs, label)
    metric = outcome.shown_metric(DATASETS.get(predictor.data.name).metric)
    ends = outcome.interval(metric, metrics[metric], outputs, label) if metric in metrics else None
    facts = evidence.evaluated(domain.label, outcome.names, metric, ends)
    figure = evidence.figure_said(facts, "file", metrics.get(metric))
    said = f"{evidence.rows_said(facts)} of {arguments.data}, weights of epoch {predictor.epoch}"
    print(f"{said}; {figure}" if figure else said)
    for name, value in metrics.items():
        print(f"{name:20s} {value:.4f}")
    print_remarks(evidence.remarks_on(facts, "file", metrics, arguments.data))
    return 0


def predict(arguments) -> int:
    """Write one row of predictions per row of a file, as CSV or Parquet. Returns the exit code.

    Raises:
        UserError: the run or the file cannot be read, or the output cannot be written there.
    """
    import pandas as pd

    from tl_research.storage.files import write_atomically

    if arguments.users is not None:
        return predict_lists(arguments)
    if arguments.data is None:
        raise UserError("predict: wants --data FILE, or --users FILE where the folder holds a recommender")
    _refuse_output(arguments.out, arguments.data)
    predictor, domain = _load_for_prediction(arguments, need_label=False, keep=arguments.keep)
    frame = pd.DataFrame({"row": range(len(domain))} | predictor.columns(domain.inputs))
    if arguments.keep:
        frame = _with_kept(domain.aside, frame)
    if arguments.out.endswith(".parquet"):
        write_atomically(arguments.out, frame.to_parquet(index=False))
    else:
        write_atomically(arguments.out, frame.to_csv(index=False))
    print(f"{len(frame)} predictions in {arguments.out}")
    return 0


def _with_kept(kept, predictions):
    """Put the kept columns in front of the predictions."""
    import pandas as pd

    both = [name for name in kept if name in predictions]
    if both:
        raise UserError(f"--keep: the predictions have a column {both[0]!r} of their own; rename that of the file")
    return pd.concat([kept, predictions], axis=1)


def _load_for_prediction(arguments, *, need_label: bool, keep=()):
    from tl_research.runs.predictor import Predictor

    predictor = Predictor.load(arguments.run)
    if need_label and (arguments.label or predictor.data.label) is None and not Path(arguments.data).is_dir():
        raise UserError(f"{arguments.data}: which column is the label? name it with --label")
    domain = predictor.read(arguments.data, label=arguments.label, need_label=need_label, keep=keep)
    if need_label and not domain.has_label.all():
        raise UserError(f"{arguments.data}: no label column to evaluate on; name it with --label")
    print_remarks(domain.remarks)
    return predictor, domain


def _refuse_output(out: str, data: str) -> None:
    """Raise `UserError` where the predictions cannot be written to `out`, or must not, before anything is computed."""
    path = Path(out)
    if path.suffix not in (".parquet", ".csv"):
        raise UserError(f"--out: got {out!r}, wants a name that ends in .parquet or .csv")
    try:
        is_folder = path.is_dir()
        is_data = path.exists() and Path(data).exists() and path.samefile(data)
        blocker = next((parent for parent in path.parents if parent.exists()), None)
    except (OSError, ValueError) as error:
        raise UserError(f"--out: {out[:80]!r} cannot be a file ({getattr(error, 'strerror', None) or error})") from None
    if is_folder:
        raise UserError(f"--out: {out} is a folder, wants a file")
    if is_data:
        raise UserError(f"--out: {out} is the file of --data itself, which would be lost; name another")
    if blocker is not None and not blocker.is_dir():
        raise UserError(f"--out: {out}: {blocker} is a file, wants a folder")


def _as_tensor(label):
    import torch

    return torch.from_numpy(label)
