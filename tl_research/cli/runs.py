"""Commands over single runs: fit, check."""

from __future__ import annotations

import glob
import sys
from pathlib import Path

from tl_research.cli.jobs import refuse_dry_run, submit_fit
from tl_research.cli.remarks import print_remarks
from tl_research.errors import ConfigError, DataError, UserError
from tl_research.parallel import preemption


def fit(arguments) -> int:
    """Carry out one run and print its figures by selection rule, or submit it. Returns the exit code.

    Raises:
        UserError: the configuration or the data are at fault.
        RunFailure: the run diverged or failed; its record says why.
    """
    from tl_research.config import compose, run_of_words

    if arguments.slurm is not None:
        return submit_fit(arguments.recipe, arguments.overrides, arguments)
    refuse_dry_run(arguments)
    preemption.listen()
    from tl_research.parallel.launch import process_rank
    from tl_research.runs.experiment import run_alone

    recipe, overrides = run_of_words(arguments.recipe, arguments.overrides)
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

    from tl_research.evaluation.evidence import record_said
    from tl_research.runs.record import RECORD_FILE

    if record.selection_rule not in record.metrics:
        where = f"{folder / RECORD_FILE}: metrics.{record.selection_rule}"
        raise DataError(f"{where}: missing, and it is the run's own selection rule; remove the file to run it again")
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
    for line in record.data.get("columns", ()):
        print(line)
    if said := record_said(record):
        print(said)
    print(f"target_test metrics; record and weights: {folder}")
    print_remarks(record.data.get("remarks", ()))


def check(arguments) -> int:
    """Check recipes and suites without training: each wrong file is one line on stderr.

    Returns:
        Exit code: 2 where a file is wrong.

    Raises:
        ConfigError: a word names no file.
    """
    from tl_research.config import compose, run_id
    from tl_research.config.yaml_text import read_yaml
    from tl_research.suites.suite import load_suite

    files, wrong = _named_files(arguments.files), []
    for name in files:
        try:
            tree = read_yaml(name)
            if not tree:
                raise ConfigError("is empty, wants a recipe or a suite")
            if "tasks" in tree:
                load_suite(name).cells()
            else:
                run_id(compose(name))
        except UserError as error:
            message = str(error)
            wrong.append(message if message.startswith(name) else f"{name}: {message}")
    # All at the end: until then the command may start over (`placeholders`).
    for message in wrong:
        print(message, file=sys.stderr)
    print(f"{len(files) - len(wrong)} of {len(files)} files are valid")
    return 2 if wrong else 0


def _named_files(patterns: list[str]) -> list[str]:
    """The files that the words of `check` name, each once.

    Raises:
        ConfigError: a word names none.
    """
    from tl_research.config.tree import is_file, is_folder
    from tl_research.storage import shipped

    files: list[str] = []
    for word in patterns:
        pattern = str(shipped.find(shipped.find(word, shipped.RECIPES), shipped.SUITES))
        if is_folder(pattern):
            raise ConfigError(f"{pattern}: is a folder; its files are '{Path(pattern) / '**' / '*.yaml'}'")
        found = [pattern] if is_file(pattern) else sorted(filter(is_file, glob.glob(pattern, recursive=True)))
        if not found:
            what = "no file matches this pattern" if glob.has_magic(pattern) else "there is no such file"
            raise ConfigError(f"{pattern}: {what}")
        files += found
    return list(dict.fromkeys(files))
