"""`recommend`: from files of interactions to a verdict, a table and a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tl_research.config import check
from tl_research.data.content import file_digest
from tl_research.errors import DataError
from tl_research.interactions.files import Columns, read_log
from tl_research.interactions.ranks import top_items
from tl_research.interactions.task import Task, make_task
from tl_research.interactions.together import Shops, together
from tl_research.interactions.training import Training
from tl_research.metrics.ranking import PER_USER, coverage, novelty, popularity_bias
from tl_research.recommend.attributes import OfAttributes, of_attributes
from tl_research.recommend.candidates import candidates
from tl_research.recommend.items_file import described
from tl_research.recommend.measure import K, Measured, attempts, choose, seen_of, test
from tl_research.recommend.model import RecommenderModel
from tl_research.recommend.page import page
from tl_research.recommend.verdict import Verdict, by_group, decide
from tl_research.recommenders.base import sums
from tl_research.runs.folder import make_folder
from tl_research.storage.files import write_atomically

#: Users whose lists count for coverage, novelty and popularity bias, drawn at random where there are more.
LISTED_USERS = 5000


@dataclass(frozen=True)
class Options:
    """What the user asked for; with the bytes of the files it gives the folder's name."""

    user: str
    item: str
    time: str | None = None
    cold: str = "none"
    shared: str | None = None
    twins: str = "drop"
    seed: int = 0
    items: str | None = None


@dataclass(frozen=True)
class RecommendAnswer:
    """The answer.

    Fields:
        verdict: with the twins' rows dropped or kept, as asked for.
        beside: the other of the two; None where no test row has a twin, or each has.
        task: what was split and compared.
        table: one row per candidate.
        remarks: what was left out, and why.
        folder: of the files that were written.
        attributes: what attributes of items are worth; None without them.
    """

    verdict: Verdict
    beside: Verdict | None
    task: Task
    table: pd.DataFrame
    remarks: tuple[str, ...]
    folder: Path
    attributes: OfAttributes | None = None


def recommend(
    files: Sequence[str], options: Options, *, output: str = "answers", say: Callable[[str], None] = print
) -> RecommendAnswer:
    """Compare recommenders on the new shop with and without the old ones, and write answer and model.

    Args:
        files: of the old shops, then of the new one.
        options: see `Options`.
        output: folder of the answers.
        say: called with lines of progress.

    Raises:
        DataError: a file, by row and column; too few users or items; one file twice.
    """
    check(options.seed >= 0, "--seed", options.seed, "0 or more")
    if len(files) < 2:
        raise DataError("recommend: wants one or more old files, then the new file")
    digests = [file_digest(Path(name)).hex() if Path(name).is_file() else name for name in files]
    for place, digest in enumerate(digests):
        if digest in digests[:place]:
            other = files[digests.index(digest)]
            raise DataError(f"{files[place]}: holds the same bytes as {other}; name each file once")
    asked = {name: value for name, value in asdict(options).items() if name != "items"}
    if options.items is not None:
        # Named by what it holds, as the files are; without one the name is what it was before there were any.
        asked["items"] = file_digest(Path(options.items)).hex() if Path(options.items).is_file() else options.items
    name = hashlib.sha256(json.dumps([digests, asked]).encode()).hexdigest()[:12]
    folder = Path(output) / f"recommend-{name}"
    columns = Columns(options.user, options.item, options.time)
    has_items = options.items is not None
    shops = together([read_log(name, columns) for name in files], shared=options.shared, are_described=has_items)
    attributes, new = None, ()
    if options.items is not None:
        shops, attributes, new = described(shops, options.items, options.item, new_items=options.cold == "items")
    known = None if attributes is None else attributes.item
    try:
        task = make_task(shops.logs[-1], shops.logs[:-1], cold=options.cold, seed=options.seed, described=known)
        task = replace(task, attributes=attributes)
    except ValueError as error:
        raise DataError(str(error)) from None
    if not len(task.test) or not len(task.val):
        raise DataError(
            f"{files[-1]}: no user has three interactions with different items: one to learn from, one to choose by "
            "and one to test on; --cold users tests users whom an old shop knows, and asks for one"
        )
    drop = options.twins == "drop"
    if drop and task.test_leaked.all():
        raise DataError(
            f"{files[-1]}: each of its {len(task.test):,} test rows has a twin that the user has bought in the old "
            "shop; --twins keep tests on them all the same"
        )
    make_folder(folder, output)
    tried, left = candidates(task.to_choose, timed=options.time is not None)
    tested = measured = choose(task, attempts(task, tried, seed=options.seed, say=say), drop=drop)
    test(task, tested, seed=options.seed)
    worth = of_attributes(task, measured, drop=drop)
    if worth is not None and worth.hurt:
        measured = [each for each in measured if not each.candidate.reads_items]
    verdict = decide(task, measured, drop=drop)
    leaked = task.test_leaked
    beside = decide(task, measured, drop=not drop) if leaked.any() and not leaked.all() else None
    table = _table(task, tested, verdict)
    remarks = (*shops.remarks, *(() if attributes is None else task.to_test.content_remarks), *left)
    answer = RecommendAnswer(verdict, beside, task, table, remarks, folder, worth)
    _write(answer, shops, options, files, new)
    return answer


def _table(task: Task, measured: Sequence[Measured], verdict: Verdict) -> pd.DataFrame:
    training = task.to_test
    buyers, users = sums(training.own, 0), len(training.target.own_users())
    draw = np.random.default_rng(0)
    asked = np.unique(task.test.user)
    asked = np.sort(draw.permutation(asked)[:LISTED_USERS])
    rows = []
    for each in sorted(measured, key=lambda each: -each.validation):
        lists = top_items(each.recommender.score, asked, seen_of(training), training.catalogue, K)
        row: dict[str, Any] = {
            "method": each.candidate.name,
            "old shop": each.candidate.uses_sources,
            "options": each.options,
            f"validation ndcg@{K}": each.validation,
        }
        row |= {f"{name}@{K}": float(each.per_user(name, verdict.rows)[1].mean()) for name in PER_USER}
        row |= {
            "coverage": coverage(lists, len(training.catalogue)),
            "novelty": novelty(lists, buyers, users),
            "popularity bias": popularity_bias(lists, buyers, training.catalogue),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _write(answer: RecommendAnswer, shops: Shops, options: Options, files: Sequence[str], new: tuple[int, ...]) -> None:
    task, verdict, worth = answer.task, answer.verdict, answer.attributes
    groups = by_group(task, verdict)
    text = page(answer, groups, options, files)
    write_atomically(answer.folder / "answer.md", text)
    write_atomically(answer.folder / "answer.csv", answer.table.to_csv(index=False))
    facts = {
        "verdict": verdict.said,
        "use": verdict.use.candidate.name,
        "gain": verdict.gain.as_dict(),
        "attributes": None if worth is None else {"said": worth.said, "gain": worth.gain.as_dict()},
        "twins": {
            "rows": options.twins,
            "found": 0 if task.twins is None else len(task.twins),
            "test_rows": int(task.test_leaked.sum()),
            "tried": [] if task.rule is None else [asdict(each) for each in task.rule.tried],
            "beside": None if answer.beside is None else answer.beside.said,
        },
        "groups": {name: gain.as_dict() for name, gain in groups.items()},
        "rows": {"train": len(task.train), "val": len(task.val), "test": len(task.test)},
        "remarks": list(answer.remarks),
        "files": list(files),
        "options": asdict(options),
    }
    write_atomically(answer.folder / "answer.json", json.dumps(facts, indent=2, allow_nan=False) + "\n")
    # The model that is used has seen every row, the test's too.
    training, used = Training(shops.logs[-1], task.sources, new, task.attributes), verdict.use
    fitted = used.candidate.make(**used.options).fit(training, seed=options.seed)
    order = np.argsort(-sums(training.own, 0)[training.catalogue], kind="stable")
    users = shops.users.copy()
    if options.shared in ("items", "none"):
        # An id of an old shop is somebody else; no file has an empty id.
        users[np.setdiff1d(np.arange(len(users)), training.target.own_users())] = ""
    model = RecommenderModel(fitted, users, shops.items, training.own, training.catalogue[order])
    model.save(answer.folder)
