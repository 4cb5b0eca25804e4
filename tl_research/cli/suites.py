"""Commands over many runs: benchmark, table, status."""

from __future__ import annotations

import sys
from pathlib import Path

from tl_research.cli.jobs import refuse_dry_run, submit_suite
from tl_research.cli.remarks import print_remarks, print_remarks_of_runs
from tl_research.errors import OutputError, UserError
from tl_research.parallel import preemption


def benchmark(arguments) -> int:
    """Carry out those runs of a suite that have no record yet, then write its table, CSV and plot; or submit it.

    Returns:
        Exit code: 1 where runs failed or are left, 2 where a record cannot be read, 130 after Ctrl-C.

    Raises:
        UserError: the suite is at fault, or a folder of output is a file.
        Preempted: SLURM asked for the place; the job is queued again.
    """
    if arguments.slurm is not None:
        return submit_suite(arguments)
    refuse_dry_run(arguments)
    preemption.refuse_ranks("benchmark")
    preemption.listen()
    from tl_research.suites.runner import run_suite
    from tl_research.suites.suite import load_suite

    share = _share(arguments.share)
    suite = load_suite(arguments.suite)
    for folder in {arguments.output, arguments.results or arguments.output}:
        _refuse_file(folder)
    options = dict(jobs=arguments.jobs, output=arguments.output, timeout=arguments.timeout, share=share)
    summary = run_suite(suite, **options)
    if summary.left and preemption.is_asked_to_stop():
        preemption.requeue()
        raise preemption.Preempted
    if share is not None:
        # Other shares would write the same files at the same time, each of what it has seen.
        print(f"the table: tl-research table {arguments.output} --suite {arguments.suite}", file=sys.stderr)
        return _exit_code(summary)
    _write_tables(suite, arguments.output, arguments.results or arguments.output)
    return _exit_code(summary)


def _exit_code(summary) -> int:
    if summary.interrupted:
        return 130
    return 1 if summary.failed or summary.left else 2 if summary.broken else 0


def _refuse_file(folder: str) -> None:
    """Refuse a folder of output that is a file, or lies below one, before anything runs."""
    path = Path(folder)
    for part in (path, *path.parents):
        if part.exists():
            if not part.is_dir():
                raise OutputError(folder, f"{part} is a file")
            return


def _write_tables(suite, output: str, results: str) -> None:
    from tl_research.report.curves import plot_curves
    from tl_research.report.plot import plot_differences
    from tl_research.report.table import collect, render, write_csv
    from tl_research.runs.record import readable_records, write_atomically
    from tl_research.runs.tracking import log_table_artifact

    folder = Path(results)
    folder.mkdir(parents=True, exist_ok=True)
    records = readable_records(output)[0]
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
    own = {cell.run_id for cell in suite.cells(output)}
    print_remarks_of_runs(record.data.get("remarks", ()) for record in records if record.run_id in own)
    _refuse_empty(frame, suite)


def _refuse_empty(frame, suite) -> None:
    """Raise `UserError` where runs of the suite are done and none has the metric that its table is of."""
    measured = frame.loc[frame["split"] == "target_test", "metric"]
    if len(measured) and suite.metric not in set(measured):
        known = ", ".join(dict.fromkeys(measured))
        raise UserError(
            f"{suite.path}: metric: no run has {suite.metric!r}, so that its table is empty; they have {known}"
        )
    absent = [name for name in suite.metrics if len(measured) and name not in set(measured)]
    print_remarks(f"{suite.path}: metrics: no run has {name!r}" for name in absent)


def _share(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal()):
        raise UserError(f"--share: got {text!r}, wants I/N, such as 3/16")
    return int(i), int(n)


def status(arguments) -> int:
    """Print how far each suite, or each run folder, is. Returns the exit code: 2 where a record cannot be read."""
    from tl_research.suites.slurm import submissions
    from tl_research.suites.status import BROKEN, jobs_without_suite, render, status
    from tl_research.suites.suite import load_suite

    submitted = [note.suite for note in submissions(arguments.runs) if note.suite]
    suites = [load_suite(path) for path in dict.fromkeys([arguments.suite] if arguments.suite else submitted)]
    broken = False
    for suite in suites or [None]:
        states = status(arguments.runs, suite)
        print(f"{suite.name}: {render(states)}" if suite else render(states))
        broken |= any(run.state == BROKEN for run in states)
    for line in jobs_without_suite(arguments.runs):
        print(line)
    return 2 if broken else 0


def table(arguments) -> int:
    """Print the table of a suite from the records there are. Returns the exit code.

    The code is 2 where a record of the suite cannot be read.

    Raises:
        UserError: there is no such folder, or no run has the suite's metric.
    """
    from tl_research.report.table import collect, render
    from tl_research.runs.record import readable_records
    from tl_research.suites.suite import load_suite

    suite = load_suite(arguments.suite)
    if not Path(arguments.runs).is_dir():
        raise UserError(f"{arguments.runs}: there is no such folder")
    records, broken = readable_records(arguments.runs)
    frame = collect(records, suite)
    print(render(frame, suite, format=arguments.format, records=records))
    of_suite = broken.keys() & {cell.run_id for cell in suite.cells(arguments.runs)}
    for name in sorted(broken):
        print(f"tl-research: {broken[name]}", file=sys.stderr)
    if broken:
        what = "1 record cannot be read and is" if len(broken) == 1 else f"{len(broken)} records cannot be read and are"
        print_remarks([f"{what} left out, {len(of_suite)} of this suite"])
    _refuse_empty(frame, suite)
    return 2 if of_suite else 0
