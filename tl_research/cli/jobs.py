"""What `--slurm` does instead of running: it submits."""

from __future__ import annotations

from tl_research.errors import UserError


def refuse_dry_run(arguments) -> None:
    """Raise `UserError` where `--dry-run` was said without `--slurm`."""
    if arguments.dry_run:
        raise UserError("--dry-run: prints the script of a job, so that it needs --slurm")


def submit_suite(arguments) -> int:
    """Submit a suite as a job array, or print its script with `--dry-run`. Returns the exit code.

    Raises:
        UserError: `--share` was said too, or a key of the job is wrong.
    """
    from tl_research.suites.slurm import array_script, read_job
    from tl_research.suites.suite import load_suite

    if arguments.share is not None:
        raise UserError("--share: each job of the array sets its own; beside --slurm, say shares=N")
    suite, job = load_suite(arguments.suite), read_job(arguments.slurm)
    runs = len(suite.cells(arguments.output))
    script = array_script(
        suite, job, runs=runs, jobs=arguments.jobs, output=arguments.output, timeout=arguments.timeout
    )
    return _print_or_submit(script, arguments, output=arguments.output, suite=suite.path, shares=min(job.shares, runs))


def submit_fit(recipe: str | None, overrides: list[str], arguments) -> int:
    """Submit one run as a job, once its configuration is checked; or print its script. Returns the exit code.

    Args:
        recipe: first word of the command.
        overrides: the words after it.
        arguments: of the parser; `slurm` and `dry_run` are read.

    Raises:
        UserError: the configuration is at fault, or a key of the job is.
    """
    from tl_research.config import compose, run_of_words
    from tl_research.suites.slurm import read_job, train_script

    config = compose(*run_of_words(recipe, overrides))
    words = [*filter(None, [recipe]), *overrides]
    name = f"{config.method.name}-{config.data.name}"
    script = train_script(words, read_job(arguments.slurm), name=name, output=config.output)
    return _print_or_submit(script, arguments, output=config.output)


def _print_or_submit(script: str, arguments, **facts) -> int:
    from tl_research.suites.slurm import submit

    if arguments.dry_run:
        print(script, end="")
        return 0
    job = submit(script, **facts)
    print(f"submitted as job {job}; tl-research status {facts['output']}")
    return 0
