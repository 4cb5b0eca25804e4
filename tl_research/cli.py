"""The command `tl-research`. A user's mistake is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import errno
import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from tl_research import __version__, preemption
from tl_research.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failed, 2 a user's mistake, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.action(arguments) or 0
    except UserError as error:
        print(f"tl-research: {error}", file=sys.stderr)
        return 2
    except preemption.Preempted:
        print("tl-research: stopped for the scheduler; the job goes on from the checkpoint", file=sys.stderr)
        return preemption.EXIT_CODE
    except KeyboardInterrupt:
        print("tl-research: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (head, less) has closed it.
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"tl-research: {where}cannot be written or read ({error.strerror})", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tl-research", description="Transfer learning: did the old market's data help?"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(action=action)
        return sub

    sub = command("fit", _fit, "train and measure one run")
    sub.add_argument("recipe", nargs="?", help="YAML recipe; left out: the defaults, or the first KEY=VALUE")
    sub.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as optimizer.lr=0.01")
    _add_slurm_arguments(sub, "submit the run as a job, a process a GPU")

    sub = command("check", _check, "validate recipes and suites without training")
    sub.add_argument("files", nargs="+", help="files, or patterns such as 'configs/**/*.yaml'")

    sub = command("evaluate", _evaluate, "measure a finished run on a file with labels")
    _add_prediction_arguments(sub)

    sub = command("predict", _predict, "apply a finished run to a file")
    _add_prediction_arguments(sub)
    sub.add_argument("--out", required=True, help="where to write: .parquet or .csv")

    sub = command("benchmark", _benchmark, "run a suite; finished runs are not repeated")
    sub.add_argument("suite", help="YAML suite")
    sub.add_argument("--jobs", type=int, default=1, help="worker processes (default 1)")
    sub.add_argument("--output", default="runs", help="folder of the run folders (default runs)")
    sub.add_argument("--results", help="folder of the table files (default OUTPUT)")
    sub.add_argument("--timeout", type=float, help="seconds after which a run is recorded as timeout")
    sub.add_argument("--share", metavar="I/N", help="only the I-th of N shares of the runs, without tables")
    _add_slurm_arguments(sub, "submit the suite as a job array, a share a job")

    sub = command("compare", _compare, "did the old files help the new one? common methods over your own files")
    sub.add_argument("files", nargs="+", help="one or more old files, then the new one: csv, parquet")
    sub.add_argument("--label", required=True, help="label column")
    sub.add_argument(
        "--shots",
        type=float,
        default=50,
        help="target labels a class (regression: in all) that may be seen (default 50)",
    )
    sub.add_argument("--seeds", type=int, default=5)
    sub.add_argument("--metric", help="such as auroc (default accuracy, or r2 where the label is a number to predict)")
    sub.add_argument("--methods", nargs="*", default=[], metavar="NAME", help="further methods, such as coral kmm")
    sub.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="overrides of every run")
    sub.add_argument("--jobs", type=int, default=1, help="worker processes (default 1)")
    sub.add_argument("--output", default="runs", help="folder of the run folders (default runs)")

    sub = command("table", _table, "make a suite's table from the records there are")
    sub.add_argument("runs", help="folder of the run folders")
    sub.add_argument("--suite", required=True, help="YAML suite")
    sub.add_argument("--format", choices=("md", "csv", "latex"), default="md")

    sub = command("status", _status, "what is queued, running, done, failed and why")
    sub.add_argument("runs", help="folder of the run folders")
    sub.add_argument("--suite", help="YAML suite; left out: those submitted as jobs, or else all run folders")

    for name, help in (
        ("methods", "list the methods"),
        ("datasets", "list the data sets"),
        ("encoders", "list the encoders"),
    ):
        sub = command(name, _listing, help)
        sub.set_defaults(kind=name)

    sub = commands.add_parser("data", help="fetch public data sets", description="fetch public data sets")
    data = sub.add_subparsers(required=True, metavar="ACTION")
    fetch = data.add_parser("fetch", help="download and verify a data set")
    fetch.add_argument("name")
    fetch.add_argument(
        "--mirror", help="folder or URL to take the files from (default $TL_RESEARCH_MIRROR, then the public origin)"
    )
    fetch.add_argument("--root", help="folder to keep them in (default $TL_RESEARCH_DATA, then ~/.cache/tl_research)")
    fetch.set_defaults(action=_data_fetch)
    listing = data.add_parser("list", help="what can be fetched, and what is here")
    listing.add_argument("--root")
    listing.set_defaults(action=_data_list)
    return parser


def _add_slurm_arguments(sub: argparse.ArgumentParser, help: str) -> None:
    sub.add_argument(
        "--slurm",
        nargs="*",
        metavar="KEY=VALUE",
        help=f"{help}, and return: account, partition, time, gpus, cpus, memory, environment, ... (docs/slurm.md)",
    )
    sub.add_argument("--dry-run", action="store_true", help="with --slurm: print the batch script instead")


def _add_prediction_arguments(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("run", help="folder of a finished run")
    sub.add_argument("--data", required=True, help="csv, parquet or npz file")
    sub.add_argument("--label", help="label column (default: the run's data.label)")


def _fit(arguments) -> int:
    from tl_research.config import compose

    recipe, overrides = arguments.recipe, arguments.overrides
    if recipe is not None and "=" in recipe and not Path(recipe).exists():
        recipe, overrides = None, [recipe, *overrides]
    if arguments.slurm is not None:
        return _submit_fit(recipe, overrides, arguments)
    _refuse_dry_run(arguments)
    preemption.listen()
    from tl_research.experiment import run_alone
    from tl_research.launch import process_rank

    shown = any(text.startswith("trainer.progress_bar=") for text in overrides)
    if sys.stderr.isatty() and not shown:
        overrides = [*overrides, "trainer.progress_bar=true"]
    config = compose(recipe, overrides)
    record = run_alone(config)
    if process_rank() == 0:
        _print_record(record, Path(config.output) / record.run_id)
    return 0


def _print_record(record, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    task = record.task
    title = f"{record.method}: {'+'.join(task['sources'])} -> {task['target']} ({record.setting}, seed {record.seed})"
    table = Table(title=title, title_justify="left")
    chosen = record.metrics[record.selection_rule]
    names = [key for key in chosen if key.startswith("target_test/")]
    table.add_column("selection rule")
    table.add_column("epoch", justify="right")
    for name in names:
        table.add_column(name.removeprefix("target_test/"), justify="right")
    for rule, values in record.metrics.items():
        note = (
            " (kept)"
            if rule == record.selection_rule
            else " (upper bound: target test labels)"
            if rule == "oracle"
            else ""
        )
        cells = [f"{values[name]:.4f}" if name in values else "-" for name in names]
        table.add_row(rule + note, str(int(values["epoch"])), *cells)
    # A pipe has no width of its own; 80 columns would cut the numbers.
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    print(f"target_test metrics; record and weights: {folder}")


def _check(arguments) -> int:
    from tl_research.benchmark.suite import load_suite
    from tl_research.config import compose
    from tl_research.yaml_text import read_yaml

    files: list[str] = []
    for pattern in arguments.files:
        found = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))
        files += [name for name in found if Path(name).is_file()]
        if not found:
            print(f"tl-research: {pattern}: there is no such file", file=sys.stderr)
            return 2
    wrong = 0
    for name in dict.fromkeys(files):
        try:
            if "tasks" in read_yaml(name):
                load_suite(name).cells()
            else:
                compose(name)
        except UserError as error:
            wrong += 1
            message = str(error)
            print(message if message.startswith(name) else f"{name}: {message}", file=sys.stderr)
    print(f"{len(dict.fromkeys(files)) - wrong} of {len(dict.fromkeys(files))} files are valid")
    return 2 if wrong else 0


def _evaluate(arguments) -> int:
    from tl_research.evaluation.metrics import classification_metrics, regression_metrics

    predictor, domain = _load_for_prediction(arguments, need_label=True)
    label = _as_tensor(domain.label)
    if predictor.regression:
        metrics = regression_metrics(predictor.values(domain.inputs), label)
    else:
        metrics = classification_metrics(predictor.logits(domain.inputs), label)
    print(f"{len(domain)} rows of {arguments.data}, weights of epoch {predictor.epoch}")
    for name, value in metrics.items():
        print(f"{name:20s} {value:.4f}")
    return 0


def _predict(arguments) -> int:
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
    if need_label and not domain.has_label.all():
        raise UserError(f"{arguments.data}: no label column to evaluate on; name it with --label")
    return predictor, domain


def _as_tensor(label):
    import torch

    return torch.from_numpy(label)


def _compare(arguments) -> int:
    from tl_research.benchmark.compare import comparison, write_comparison
    from tl_research.config import override_tree

    if len(arguments.files) < 2:
        raise UserError("compare: wants one or more old files and the new one")
    *sources, target = arguments.files
    overrides = override_tree(arguments.set)
    suite = comparison(
        sources,
        target,
        label=arguments.label,
        shots=arguments.shots,
        seeds=arguments.seeds,
        metric=arguments.metric,
        overrides=overrides,
        also=arguments.methods,
    )
    arguments.suite = str(write_comparison(Path(arguments.output) / "compare.yaml", suite))
    arguments.results, arguments.timeout = arguments.output, None
    arguments.slurm, arguments.dry_run, arguments.share = None, False, None
    return _benchmark(arguments)


def _benchmark(arguments) -> int:
    if arguments.slurm is not None:
        return _submit_suite(arguments)
    _refuse_dry_run(arguments)
    preemption.refuse_ranks("benchmark")
    preemption.listen()
    from tl_research.benchmark.runner import WorkerError, run_suite
    from tl_research.benchmark.suite import load_suite

    share = _share(arguments.share)
    suite = load_suite(arguments.suite)
    options = dict(jobs=arguments.jobs, output=arguments.output, timeout=arguments.timeout, share=share)
    try:
        summary = run_suite(suite, **options)
    except WorkerError as error:
        print(f"tl-research: {error}", file=sys.stderr)
        return 1
    if summary.left and preemption.is_asked_to_stop():
        preemption.requeue()
        raise preemption.Preempted
    if share is not None:
        # Other shares would write the same files at the same time, each of what it has seen.
        print(f"the table: tl-research table {arguments.output} --suite {arguments.suite}", file=sys.stderr)
        return 130 if summary.interrupted else 1 if summary.failed or summary.left else 0
    _write_tables(suite, arguments.output, arguments.results or arguments.output)
    return 130 if summary.interrupted else 1 if summary.failed or summary.left else 0


def _write_tables(suite, output: str, results: str) -> None:
    from tl_research.benchmark.curves import plot_curves
    from tl_research.benchmark.plot import plot_differences
    from tl_research.benchmark.table import collect, render, write_csv
    from tl_research.results import read_records, write_atomically
    from tl_research.tracking import log_table_artifact

    folder = Path(results)
    folder.mkdir(parents=True, exist_ok=True)
    records = read_records(output)
    frame = collect(records, suite)
    text = render(frame, suite, records=records)
    csv, page, plot = (folder / f"{suite.name}.{ending}" for ending in ("csv", "md", "png"))
    # What the page is made of, and small enough to commit; `table --format csv` gives every split and metric.
    shown = frame["metric"].isin({suite.metric, *suite.metrics})
    write_csv(frame[shown & (frame["split"] == "target_test")], csv)
    write_atomically(page, text)
    (plot_curves if suite.shots else plot_differences)(frame, suite, plot)
    tracked = suite.cells(output)[0].config.wandb
    log_table_artifact(
        suite.name, [csv, page, plot], mode=tracked.mode, project=tracked.project, entity=tracked.entity, folder=output
    )
    print(text)
    print(f"written: {csv}, {page}, {plot}")


def _share(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal()):
        raise UserError(f"--share: got {text!r}, wants I/N, such as 3/16")
    return int(i), int(n)


def _refuse_dry_run(arguments) -> None:
    if arguments.dry_run:
        raise UserError("--dry-run: prints the script of a job; it goes with --slurm")


def _submit_suite(arguments) -> int:
    from tl_research.benchmark.slurm import array_script, read_job
    from tl_research.benchmark.suite import load_suite

    if arguments.share is not None:
        raise UserError("--share: is what a job of the array does; with --slurm, shares=N says how many there are")
    suite, job = load_suite(arguments.suite), read_job(arguments.slurm)
    runs = len(suite.cells(arguments.output))
    script = array_script(
        suite, job, runs=runs, jobs=arguments.jobs, output=arguments.output, timeout=arguments.timeout
    )
    return _print_or_submit(script, arguments, output=arguments.output, suite=suite.path, shares=min(job.shares, runs))


def _submit_fit(recipe: str | None, overrides: list[str], arguments) -> int:
    from tl_research.benchmark.slurm import read_job, train_script
    from tl_research.config import compose

    config = compose(recipe, overrides)
    words = [*filter(None, [recipe]), *overrides]
    name = f"{config.method.name}-{config.data.name}"
    script = train_script(words, read_job(arguments.slurm), name=name, output=config.output)
    return _print_or_submit(script, arguments, output=config.output)


def _print_or_submit(script: str, arguments, **facts) -> int:
    from tl_research.benchmark.slurm import submit

    if arguments.dry_run:
        print(script, end="")
        return 0
    job = submit(script, **facts)
    print(f"submitted as job {job}; tl-research status {facts['output']}")
    return 0


def _status(arguments) -> int:
    from tl_research.benchmark.slurm import submissions
    from tl_research.benchmark.status import jobs_without_suite, render, status
    from tl_research.benchmark.suite import load_suite

    submitted = [note.suite for note in submissions(arguments.runs) if note.suite]
    suites = [arguments.suite] if arguments.suite else submitted
    for path in dict.fromkeys(suites):
        suite = load_suite(path)
        print(f"{suite.name}: {render(status(arguments.runs, suite))}")
    if not suites:
        print(render(status(arguments.runs)))
    for line in jobs_without_suite(arguments.runs):
        print(line)
    return 0


def _table(arguments) -> int:
    from tl_research.benchmark.suite import load_suite
    from tl_research.benchmark.table import collect, render
    from tl_research.results import read_records

    suite = load_suite(arguments.suite)
    if not Path(arguments.runs).is_dir():
        raise UserError(f"{arguments.runs}: there is no such folder")
    records = read_records(arguments.runs)
    print(render(collect(records, suite), suite, format=arguments.format, records=records))
    return 0


def _listing(arguments) -> int:
    from rich.console import Console
    from rich.table import Table

    from tl_research.registry import DATASETS, ENCODERS, METHODS

    columns = {
        "methods": (METHODS, ("family", "settings", "targets", "paper")),
        "datasets": (DATASETS, ("domains", "metric", "encoder", "paper")),
        "encoders": (ENCODERS, ("paper",)),
    }
    registry, facts = columns[arguments.kind]
    table = Table()
    for heading in ("name", *facts, "summary"):
        table.add_column(heading, overflow="fold")
    for entry in registry.entries():
        cells = [", ".join(v) if isinstance(v := entry.info[fact], tuple) else str(v) for fact in facts]
        table.add_row(entry.name, *cells, entry.summary)
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    return 0


def _data_fetch(arguments) -> int:
    from tl_research.data.fetch import fetch
    from tl_research.registry import DATASETS

    files = _files_of(DATASETS.get(arguments.name))
    if not files:
        raise UserError(f"{arguments.name}: has no files to fetch, it is made or read on the spot")
    folder = fetch(arguments.name, files, root=arguments.root, mirror=arguments.mirror)
    print(f"{arguments.name}: {len(files)} files verified in {folder}")
    return 0


def _data_list(arguments) -> int:
    from tl_research.data.fetch import data_root, is_right
    from tl_research.registry import DATASETS

    for entry in DATASETS.entries():
        files, folder = _files_of(entry), data_root(arguments.root) / entry.name
        size = f"{sum(file.bytes for file in files) / 1e6:.1f} MB" if files else "-"
        if not files:
            state = "nothing to fetch"
        else:
            state = "here" if all(is_right(folder / file.name, file) for file in files) else "not here"
        print(f"{entry.name:20s} {size:>10s}  {state:18s} {entry.summary}")
    return 0


def _files_of(entry) -> list:
    return list(getattr(entry.target, "files", []))


if __name__ == "__main__":
    sys.exit(main())
