"""The command `compare`: did the old files help the new one?"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tl_research.errors import UserError
from tl_research.parallel import preemption


def compare(arguments) -> int:
    """Answer from the files, print one screen, and with `--deep` carry out the suite of networks too.

    Returns:
        Exit code: 130 after Ctrl-C; with `--deep` that of the suite.

    Raises:
        UserError: fewer than two files, or an option out of range.
    """
    if len(arguments.files) < 2:
        raise UserError("compare: wants one or more old files, then the new file")
    if not arguments.deep:
        _refuse_deep_options(arguments)
    preemption.refuse_ranks("compare")
    from tl_research.answer.compare import compare as answer_from_files
    from tl_research.answer.options import FIXED
    from tl_research.answer.page import screen
    from tl_research.config.tree import override_tree

    schema = [] if arguments.schema is None else [f"data.schema={arguments.schema}"]
    overrides, suite = override_tree([*arguments.set, *schema]), None
    if arguments.deep:
        # Made first, so that a mistake in it is found before anything is computed.
        suite = _suite(arguments, overrides)
        own = {name: keys for name, keys in overrides.items() if name in ("data", "method")}
        own["data"] = {key: value for key, value in own.get("data", {}).items() if key not in FIXED}
        overrides = own
    *old, new = arguments.files
    answer = answer_from_files(
        old,
        new,
        label=arguments.label,
        shots=arguments.shots,
        curve=arguments.curve,
        balanced=arguments.balanced or (suite is not None and _counts_per_class(suite)),
        metric=_metrics(arguments),
        group=arguments.group,
        resamples=arguments.resamples,
        rows=arguments.rows,
        keep_columns=arguments.keep_column,
        prior=arguments.prior,
        overrides=overrides,
        jobs=arguments.jobs,
        seed=arguments.seed,
        output=arguments.output,
        again=arguments.again,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(screen(answer))
    return 0 if suite is None else _carry_out(suite, arguments, answer)


def _counts_per_class(suite: dict[str, Any]) -> bool:
    """Whether the suite's shots are labels per class, which the answer's are then too."""
    from tl_research.outcomes import KINDS
    from tl_research.registry import METRICS

    return KINDS[METRICS[suite["metric"]].of].shots == "per class"


def _metrics(arguments) -> list[str] | None:
    """Return the metrics that are asked for; `--value` is one more, shown behind the others."""
    asked = list(arguments.metric or ())
    if arguments.value is None:
        return asked or None
    return [*(asked or ["auroc"]), f"value:{arguments.value}"]


def _recorded(metrics: Iterable[str]) -> list[str]:
    """Return the metrics that every run records; those on request are made of predictions, which runs do not keep."""
    from tl_research.registry import METRICS

    return [name for name in metrics if name in METRICS]


def _refuse_deep_options(arguments) -> None:
    for name in ("methods", "seeds"):
        if getattr(arguments, name) is not None:
            raise UserError(f"--{name}: is an option of --deep, which trains networks and adaptation methods too")


def _suite(arguments, overrides) -> dict[str, Any]:
    """Return the suite of the common methods; labels are counted per class there."""
    from tl_research.suites.compare import comparison

    *old, new = arguments.files
    common = {name: keys for name, keys in overrides.items() if name != "method"}
    return comparison(
        old,
        new,
        label=arguments.label,
        shots=50 if arguments.shots is None else arguments.shots,
        seeds=5 if arguments.seeds is None else arguments.seeds,
        metric=next(iter(_recorded(arguments.metric or ())), None),
        overrides=common,
        also=arguments.methods or (),
        portfolio=overrides.get("method"),
    )


def _carry_out(suite: dict[str, Any], arguments, answer) -> int:
    """Write the suite into the answer's folder, carry it out, and print what it says. Returns the exit code."""
    from tl_research.cli.suites import benchmark
    from tl_research.suites.compare import write_comparison

    asked = answer.facts["metrics"]
    own, second = _recorded(asked), suite["metrics"][1:]
    suite["metric"] = own[0] if own else suite["metric"]
    suite["metrics"] = list(dict.fromkeys((suite["metric"], *own, *second)))
    arguments.suite = str(write_comparison(answer.folder / "compare.yaml", suite))
    arguments.results, arguments.timeout = str(answer.folder), None
    arguments.output = str(Path(arguments.output) / "runs")
    arguments.slurm, arguments.dry_run, arguments.share = None, False, None
    arguments.jobs = arguments.jobs or 1
    print(f"\nNetworks and adaptation methods, {suite['seeds']} runs each, in {arguments.output}:", flush=True)
    if lacking := [name for name in asked if name not in own]:
        listed = ", ".join(lacking)
        print(f"Not in this table, as runs keep no predictions, but in the answer above: {listed}", flush=True)
    code = benchmark(arguments)
    _print_verdict(arguments)
    print(f"\nThe answer from {answer.facts['resamples']['count']} resamples: {answer.verdict}")
    print(f"Apply it: {answer.command}")
    return code


def _print_verdict(arguments) -> None:
    """Print the suite's answer in one sentence, its model, and how to apply it."""
    from tl_research.report.table import collect
    from tl_research.report.verdict import best_of, verdict
    from tl_research.runs.record import readable_records
    from tl_research.suites.suite import load_suite

    suite = load_suite(arguments.suite)
    frame = collect(readable_records(arguments.output)[0], suite)
    cells = suite.cells(arguments.output)
    said = verdict(frame, suite, test_share=cells[0].config.data.test_fraction)
    if said is None:
        return
    print(f"\n{said}")
    best = best_of(frame, suite)
    folder = Path(arguments.output) / next(cell.run_id for cell in cells if cell.label == best)
    print(f"Its model of the first seed: {folder}")
    print(f"Apply it: tl-research predict {folder} --data FILE --out scores.parquet")
