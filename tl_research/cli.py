"""The command `tl-research`. A user's mistake is one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence

from tl_research import __version__, preemption
from tl_research.commands import listings, predictions, runs, suites
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

    sub = command("fit", runs.fit, "train and measure one run")
    sub.add_argument("recipe", nargs="?", help="YAML recipe; left out: the defaults, or the first KEY=VALUE")
    sub.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as optimizer.lr=0.01")
    _add_slurm_arguments(sub, "submit the run as a job, a process a GPU")

    sub = command("check", runs.check, "validate recipes and suites without training")
    sub.add_argument("files", nargs="+", help="files, or patterns such as 'configs/**/*.yaml'")

    sub = command("evaluate", predictions.evaluate, "measure a finished run on a file with labels")
    _add_prediction_arguments(sub)

    sub = command("predict", predictions.predict, "apply a finished run to a file")
    _add_prediction_arguments(sub)
    sub.add_argument("--out", required=True, help="where to write: .parquet or .csv")

    sub = command("benchmark", suites.benchmark, "run a suite; finished runs are not repeated")
    sub.add_argument("suite", help="YAML suite")
    sub.add_argument("--jobs", type=int, default=1, help="worker processes (default 1)")
    sub.add_argument("--output", default="runs", help="folder of the run folders (default runs)")
    sub.add_argument("--results", help="folder of the table files (default OUTPUT)")
    sub.add_argument("--timeout", type=float, help="seconds after which a run is recorded as timeout")
    sub.add_argument("--share", metavar="I/N", help="only the I-th of N shares of the runs, without tables")
    _add_slurm_arguments(sub, "submit the suite as a job array, a share a job")

    sub = command("compare", suites.compare, "did the old files help the new one? common methods over your own files")
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

    sub = command("table", suites.table, "make a suite's table from the records there are")
    sub.add_argument("runs", help="folder of the run folders")
    sub.add_argument("--suite", required=True, help="YAML suite")
    sub.add_argument("--format", choices=("md", "csv", "latex"), default="md")

    sub = command("status", suites.status, "what is queued, running, done, failed and why")
    sub.add_argument("runs", help="folder of the run folders")
    sub.add_argument("--suite", help="YAML suite; left out: those submitted as jobs, or else all run folders")

    for name, help in (
        ("methods", "list the methods"),
        ("datasets", "list the data sets"),
        ("encoders", "list the encoders"),
    ):
        sub = command(name, listings.listing, help)
        sub.set_defaults(kind=name)

    sub = commands.add_parser("data", help="fetch public data sets", description="fetch public data sets")
    data = sub.add_subparsers(required=True, metavar="ACTION")
    fetch = data.add_parser("fetch", help="download and verify a data set")
    fetch.add_argument("name")
    fetch.add_argument(
        "--mirror", help="folder or URL to take the files from (default $TL_RESEARCH_MIRROR, then the public origin)"
    )
    fetch.add_argument("--root", help="folder to keep them in (default $TL_RESEARCH_DATA, then ~/.cache/tl_research)")
    fetch.set_defaults(action=listings.data_fetch)
    listing = data.add_parser("list", help="what can be fetched, and what is here")
    listing.add_argument("--root")
    listing.set_defaults(action=listings.data_list)
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


if __name__ == "__main__":
    sys.exit(main())
