"""Commands over interactions: recommend, audit, and lists for users."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tl_research.cli.remarks import print_remarks
from tl_research.errors import DataError, UserError


def add_parsers(command) -> None:
    """Add the parsers of `recommend` and `audit`.

    Args:
        command: makes a parser for a name, an action and a help text.
    """
    sub = command("recommend", recommend, "did the old shop's purchases help to recommend in the new one?")
    _add_files(sub)
    sub.add_argument(
        "--cold",
        choices=("none", "users", "items"),
        default="none",
        help="what tests: each user's last purchase (none, default), users whom only an old shop knows, new items",
    )
    sub.add_argument(
        "--twins",
        choices=("drop", "keep"),
        default="drop",
        help="test rows that the old shop gives away under another id: drop them (default) or keep them",
    )
    sub.add_argument(
        "--items",
        metavar="FILE",
        help="one row per item: its id in the column of --item; numbers, categories and texts in the others",
    )
    sub.add_argument("--seed", type=int, default=0, help="of the split, and of what is drawn at random (default 0)")
    sub.add_argument("--output", default="answers", help="folder of the answers (default answers)")
    sub = command("audit", audit, "do two shops sell the same product under two ids?")
    _add_files(sub)
    sub.add_argument("--out", help="file for the pairs of twins: .csv")


def _add_files(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("files", nargs="+", help="one or more old files, then the new one: csv, parquet")
    sub.add_argument("--user", required=True, help="column of the user's id")
    sub.add_argument("--item", required=True, help="column of the item's id")
    sub.add_argument("--time", help="column of the time: seconds, milliseconds, or dates as 2024-01-31")
    sub.add_argument(
        "--shared",
        choices=("users", "items", "both", "none"),
        help="what the same id in two files means (default: the same, unless ids are plain numbers)",
    )


def add_list_arguments(sub: argparse.ArgumentParser) -> None:
    """Add to `predict` what a recommender needs."""
    sub.add_argument("--users", metavar="FILE", help="of a recommender: file of the users that want a list")
    sub.add_argument("--user", metavar="COLUMN", help="its column of ids (default: its only column)")
    sub.add_argument("--top", type=int, default=10, help="items per user (default 10)")
    sub.add_argument(
        "--unknown",
        choices=("refuse", "popularity"),
        default="refuse",
        help="users whom the model does not know: refuse the file (default), or give them the most bought items",
    )


def recommend(arguments) -> int:
    """Print the answer, and write it beside a model. Returns the exit code.

    Raises:
        UserError: a file, by row and column.
    """
    from tl_research.recommend.answer import Options, recommend

    options = Options(
        arguments.user,
        arguments.item,
        arguments.time,
        cold=arguments.cold,
        shared=arguments.shared,
        twins=arguments.twins,
        seed=arguments.seed,
        items=arguments.items,
    )
    answer = recommend(
        arguments.files, options, output=arguments.output, say=lambda line: print(line, file=sys.stderr, flush=True)
    )
    print((answer.folder / "answer.md").read_text(encoding="utf-8"), end="")
    return 0


def audit(arguments) -> int:
    """Print what the audit of twins finds. Returns the exit code.

    Raises:
        UserError: a file, by row and column; fewer than two files.
    """
    from tl_research.interactions.files import Columns, read_log
    from tl_research.interactions.task import make_task
    from tl_research.interactions.together import together
    from tl_research.recommend.page import audit_said

    if len(arguments.files) < 2:
        raise UserError("audit: wants one or more old files, then the new file")
    if arguments.out is not None and not arguments.out.endswith(".csv"):
        raise UserError(f"--out: got {arguments.out!r}, wants a name that ends in .csv")
    columns = Columns(arguments.user, arguments.item, arguments.time)
    shops = together([read_log(name, columns) for name in arguments.files], shared=arguments.shared)
    print_remarks(shops.remarks)
    try:
        task = make_task(shops.logs[-1], shops.logs[:-1], cold="none", seed=0)
    except ValueError as error:
        raise DataError(str(error)) from None
    print(audit_said(task, arguments.files), end="")
    if arguments.out is not None and task.twins is not None:
        import pandas as pd

        from tl_research.storage.files import write_atomically

        found = task.twins
        frame = pd.DataFrame(
            {
                "new": shops.items[found.first],
                "old": shops.items[found.second],
                "shared_buyers": found.shared,
                "jaccard": found.jaccard.round(4),
            }
        )
        write_atomically(arguments.out, frame.to_csv(index=False))
        print(f"{len(frame):,} pairs in {arguments.out}")
    return 0


def predict_lists(arguments) -> int:
    """Write the best items of each user of a file. Returns the exit code.

    Raises:
        UserError: the folder or the file cannot be read, or a user is unknown.
    """
    import pandas as pd

    from tl_research.interactions.files import read_ids
    from tl_research.recommend.model import FILE, RecommenderModel
    from tl_research.recommend.of_run import of_run
    from tl_research.storage.files import write_atomically
    from tl_research.storage.names import MODEL_FILE

    if arguments.top < 1:
        raise UserError(f"--top: got {arguments.top}, wants 1 or more")
    if Path(arguments.out).suffix not in (".csv", ".parquet"):
        raise UserError(f"--out: got {arguments.out!r}, wants a name that ends in .parquet or .csv")
    is_run = (Path(arguments.run) / MODEL_FILE).is_file() and not (Path(arguments.run) / FILE).is_file()
    model = of_run(arguments.run) if is_run else RecommenderModel.load(arguments.run)
    users = pd.unique(read_ids(arguments.users, arguments.user))
    frame = model.lists(users, top=arguments.top, unknown=arguments.unknown)
    content = frame.to_parquet(index=False) if arguments.out.endswith(".parquet") else frame.to_csv(index=False)
    write_atomically(arguments.out, content)
    print(f"{len(frame):,} recommendations for {len(users):,} users in {arguments.out}")
    return 0
