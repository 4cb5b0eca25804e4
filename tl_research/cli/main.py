"""The command `tl-research`. A user's mistake is one line on stderr and exit code 2; no input ends in a traceback."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence

from tl_research import __version__
from tl_research.cli import answer, listings, placeholders, predictions, recommend, runs, suites, validators
from tl_research.errors import RunFailure, UserError, is_named, is_out_of_memory
from tl_research.parallel import preemption
from tl_research.runs import crash

#: In the environment: show tracebacks.
DEBUG = "TL_RESEARCH_DEBUG"
#: What helps against errors of the file system.
REMEDIES = {
    errno.ENOTDIR: "a part of this path is a file",
    errno.EEXIST: "it is a file, wants a folder",
    errno.EISDIR: "it is a folder, wants a file",
    errno.ENAMETOOLONG: "use a shorter path",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0: done. 1: a run failed (it diverged, memory ran out, a process of it died), or an error that nobody expected.
    2: a user's mistake, or a file or folder that cannot be read or written. 75: stopped for the scheduler, the job is
    queued again. 130: Ctrl-C. 143: SIGTERM. After the last three the same command goes on from the last checkpoint.
    """
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot show must not be an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments = _parser().parse_args(argv)
    # Placeholders stay, so that they are for a process that does nothing else.
    if argv is None and arguments.does_without and not vars(arguments).get("deep"):
        placeholders.install(arguments.does_without)
    try:
        with preemption.told_of_sigterm():
            _refuse_nul(arguments)
            return arguments.action(arguments) or 0
    except placeholders.NeedsLibrary:
        placeholders.start_over()
    except BrokenPipeError:
        # The reader of our output (head, less) has closed it.
        sys.stderr.close()
        return 0
    except BaseException as error:
        if os.environ.get(DEBUG, "") not in ("", "0"):
            traceback.print_exc()
        code, message = _verdict(error)
        if message is None:
            raise
        print(f"tl-research: {message}", file=sys.stderr)
        return code


def _verdict(error: BaseException) -> tuple[int, str | None]:
    """Exit code and message of what ended a command; no message: not for us to end."""
    if isinstance(error, UserError):
        return 2, str(error)
    if isinstance(error, preemption.Preempted):
        return preemption.EXIT_CODE, "stopped for the scheduler; the job goes on from the checkpoint"
    if isinstance(error, preemption.Terminated) or is_named(error, "SIGTERMException"):
        return 143, "ended by SIGTERM; what is finished is kept, and the same command goes on from the last checkpoint"
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted; the same command goes on from the last checkpoint"
    folder = crash.folder_of(error)
    record = f"; the record is in {folder}" if folder is not None else ""
    if is_out_of_memory(error):
        reason = str(error).strip().split("\n")[0]
        way_out = "smaller data.batch_size, fewer --jobs or another device may help"
        return 1, f"out of memory{f' ({reason[:200]})' if reason else ''}; {way_out}{record}"
    if isinstance(error, RunFailure):
        return 1, f"{error}{record}"
    if isinstance(error, OSError) and error.errno is not None:
        return 2, _of_the_file_system(error)
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return 2, "a path begins with ~ and a name that no user here has; write ./~... for a file of that name"
    return 1, crash.report(error) if isinstance(error, Exception) else None


def _of_the_file_system(error: OSError) -> str:
    name = str(error.filename2 or error.filename or "")
    where = f"{name if len(name) <= 200 else f'{name[:200]}...'}: " if name else ""
    remedy = REMEDIES.get(error.errno)
    return f"{where}cannot be written or read ({error.strerror}{f'; {remedy}' if remedy else ''})"


def _refuse_nul(arguments: argparse.Namespace) -> None:
    for name, value in vars(arguments).items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and "\0" in text:
                raise UserError(f"{name}: got {text!r}, which holds a NUL character; no name of a file or key does")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tl-research", description="Transfer learning: did the old market's data help?"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action, help: str, *, does_without: frozenset[str] = frozenset()) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(action=action, does_without=does_without)
        return sub

    sub = command("fit", runs.fit, "train and measure one run")
    sub.add_argument(
        "recipe",
        nargs="?",
        help="YAML recipe, its name (digits/dann), or the names of a data set and a method; left out: the defaults",
    )
    sub.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as optimizer.lr=0.01")
    _add_slurm_arguments(sub, "submit the run as a job, one process per GPU")

    sub = command(
        "check", runs.check, "validate recipes and suites without training", does_without=placeholders.LIBRARIES
    )
    sub.add_argument("files", nargs="+", help="files, or patterns such as 'configs/**/*.yaml'")

    sub = command("evaluate", predictions.evaluate, "measure a finished run on a file with labels")
    _add_prediction_arguments(sub)

    sub = command("predict", predictions.predict, "apply a finished run, or an answer's model, to a file")
    _add_prediction_arguments(sub, data_required=False)
    recommend.add_list_arguments(sub)
    sub.add_argument("--out", required=True, help="where to write: .parquet or .csv")
    sub.add_argument(
        "--keep",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="columns of the file to write in front of the predictions, as they stand: an order id, a customer",
    )

    sub = command("benchmark", suites.benchmark, "run a suite; finished runs are not repeated")
    sub.add_argument("suite", help="YAML suite, or the name of one of the package, such as demo")
    sub.add_argument("--jobs", type=int, default=1, help="worker processes (default 1)")
    sub.add_argument("--output", default="runs", help="folder of the run folders (default runs)")
    sub.add_argument("--results", help="folder of the table files (default OUTPUT)")
    sub.add_argument("--timeout", type=float, help="seconds after which a run is stopped and recorded as timeout")
    sub.add_argument("--share", metavar="I/N", help="run only the I-th of N shares, and write no table")
    _add_slurm_arguments(sub, "submit the suite as a job array, one share per job")

    said = "did the old files help the new one? a verdict, a table and a model"
    sub = command("compare", answer.compare, said, does_without=placeholders.OF_TRAINING)
    sub.description += "; two files of 50,000 rows with 200 labels took 1.3 minutes on two processors"
    sub.add_argument("files", nargs="+", help="one or more old files, then the new one: csv, parquet")
    sub.add_argument("--label", help="label column; of folders of images their names are the labels")
    sub.add_argument(
        "--shots",
        type=float,
        metavar="B",
        help="labels of the new file that are learnt from, drawn at random (default all; with --deep 50 per class)",
    )
    sub.add_argument("--curve", metavar="B,B,all", help="several numbers of labels: from where do old data not pay?")
    sub.add_argument("--balanced", action="store_true", help="--shots and --curve are labels per class")
    sub.add_argument(
        "--metric",
        nargs="+",
        action="extend",
        help="to compare, and further ones to show (default auroc of two classes, accuracy of more, r2 of numbers)",
    )
    sub.add_argument("--group", metavar="COLUMN", help="rows of one value, such as a customer, stay on one side")
    sub.add_argument(
        "--prior",
        metavar="SHARE",
        help="share of the second class in the market (0.15, yes=0.15, '{\"a, b\": 0.15}'), where labels lie",
    )
    sub.add_argument("--value", metavar="tp=20,fp=-1", help="what acting on a prediction is worth; shown per row")
    sub.add_argument(
        "--keep-column",
        nargs="*",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="use a column that may be a leak all the same",
    )
    sub.add_argument("--resamples", type=int, default=10, metavar="J", help="splits that are measured (default 10)")
    sub.add_argument("--rows", type=int, default=20_000, help="labelled new rows used at most (default 20000)")
    sub.add_argument("--seed", type=int, default=0, help="of every draw (default 0)")
    sub.add_argument(
        "--set",
        nargs="*",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="such as data.drop=[id]; with --deep, of every run",
    )
    sub.add_argument("--schema", metavar="FILE", help="YAML file that says what columns are: zip: category")
    sub.add_argument("--jobs", type=int, help="worker processes (default: as many as processors)")
    sub.add_argument("--output", default="answers", help="folder of the answers (default answers)")
    sub.add_argument("--again", action="store_true", help="answer anew what has been answered")
    sub.add_argument(
        "--deep",
        action="store_true",
        help="then train networks and adaptation methods too; how many minutes it takes has not been measured",
    )
    sub.add_argument(
        "--methods", nargs="*", action="extend", metavar="NAME", help="with --deep: further methods, such as coral kmm"
    )
    sub.add_argument("--seeds", type=int, help="with --deep: runs per method, each with its own seed (default 5)")

    recommend.add_parsers(command)

    sub = command("table", suites.table, "make a suite's table from the records that exist")
    sub.add_argument("runs", help="folder of the run folders")
    sub.add_argument("--suite", required=True, help="YAML suite, or its name")
    sub.add_argument("--format", choices=("md", "csv", "latex"), default="md", help="of the table that is printed")

    sub = command("validators", validators.validators, "how well each selection rule orders the epochs of runs")
    sub.add_argument("runs", nargs="+", help="folders of runs with selection.save_outputs=true, of one target")
    sub.add_argument("--metric", help="of the target's test rows (default: the one of the record)")

    sub = command("status", suites.status, "show which runs are queued, running, done or failed, and why")
    sub.add_argument("runs", help="folder of the run folders")
    sub.add_argument(
        "--suite", help="YAML suite or its name; left out: those submitted as jobs, or else all run folders"
    )

    for name, help in (
        ("methods", "list the methods"),
        ("datasets", "list the data sets"),
        ("encoders", "list the encoders"),
    ):
        sub = command(name, listings.listing, help, does_without=placeholders.LIBRARIES)
        sub.set_defaults(kind=name)

    sub = commands.add_parser("data", help="fetch public data sets", description="fetch public data sets")
    sub.set_defaults(does_without=placeholders.LIBRARIES)
    data = sub.add_subparsers(required=True, metavar="ACTION")
    fetch = data.add_parser("fetch", help="download and verify a data set")
    fetch.add_argument("name", help="of a data set; tl-research data list shows them")
    fetch.add_argument(
        "--mirror", help="folder or URL to take the files from (default $TL_RESEARCH_MIRROR, then the public origin)"
    )
    fetch.add_argument("--root", help="folder to keep them in (default $TL_RESEARCH_DATA, then ~/.cache/tl_research)")
    fetch.set_defaults(action=listings.data_fetch)
    listing = data.add_parser("list", help="list what can be fetched, and what is here")
    listing.add_argument("--root", help="folder to look in (default as for fetch)")
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


def _add_prediction_arguments(sub: argparse.ArgumentParser, *, data_required: bool = True) -> None:
    sub.add_argument("run", help="folder of a finished run")
    sub.add_argument("--data", required=data_required, help="csv, parquet or npz file")
    sub.add_argument("--label", help="label column (default: the run's data.label)")


if __name__ == "__main__":
    sys.exit(main())
