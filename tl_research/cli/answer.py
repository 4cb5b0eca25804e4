"""The command `compare`: did the old files help the new one?"""

from __future__ import annotations

import sys
from pathlib import Path

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
    from tl_research.answer.page import screen
    from tl_research.config.tree import override_tree

    overrides = override_tree(arguments.set)
    own = overrides
    if arguments.deep:
        own = {key: value for key, value in overrides.items() if key == "data"}
    *old, new = arguments.files
    answer = answer_from_files(
        old,
        new,
        label=arguments.label,
        shots=arguments.shots,
        curve=arguments.curve,
        balanced=arguments.balanced or arguments.deep,
        metric=arguments.metric,
        group=arguments.group,
        resamples=arguments.resamples,
        rows=arguments.rows,
        overrides=own,
        jobs=arguments.jobs,
        seed=arguments.seed,
        output=arguments.output,
        again=arguments.again,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(screen(answer))
    return _deep(arguments, answer, overrides) if arguments.deep else 0


def _refuse_deep_options(arguments) -> None:
    for name in ("methods", "seeds"):
        if getattr(arguments, name) is not None:
            raise UserError(f"--{name}: is an option of --deep, which trains networks and adaptation methods too")


def _deep(arguments, answer, overrides) -> int:
    """Write the suite of the common methods into the answer's folder, carry it out, and print what it says."""
    from tl_research.cli.suites import benchmark
    from tl_research.suites.compare import comparison, write_comparison

    *old, new = arguments.files
    suite = comparison(
        old,
        new,
        label=arguments.label,
        shots=arguments.shots or 50,
        seeds=arguments.seeds or 5,
        metric=answer.metric,
        overrides=overrides,
        also=arguments.methods or (),
    )
    arguments.suite = str(write_comparison(answer.folder / "compare.yaml", suite))
    arguments.results, arguments.timeout = str(answer.folder), None
    arguments.output = str(Path(arguments.output) / "runs")
    arguments.slurm, arguments.dry_run, arguments.share = None, False, None
    arguments.jobs = arguments.jobs or 1
    code = benchmark(arguments)
    _print_verdict(arguments)
    print(f"\nFrom all resamples: {answer.verdict}\nApply it: {answer.command}")
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
