"""The answer of `recommend` as Markdown, for the screen and for a file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from tl_research.interactions.task import Task
from tl_research.metrics.ranking import PER_USER
from tl_research.recommend.measure import K
from tl_research.recommend.verdict import Gain

if TYPE_CHECKING:
    from tl_research.recommend.answer import Options, RecommendAnswer


def page(answer: RecommendAnswer, groups: dict[str, Gain], options: Options, files: Sequence[str]) -> str:
    """Return the whole answer as text."""
    task, quoted = answer.task, shlex.quote(str(answer.folder))
    parts = [
        answer.verdict.said,
        "" if answer.attributes is None else answer.attributes.said,
        twins_said(answer, options),
        _table(answer.table),
        (
            "In percent, but novelty (bits) and popularity bias (1: as the catalogue), over "
            f"{counted(answer.verdict.gain.users, 'test user')} and the whole catalogue of "
            f"{counted(len(task.to_test.catalogue), 'item')}. Options were chosen, and rows are sorted, by validation "
            "users; the test was read once. The interval is over users."
        ),
        _groups(groups),
        "\n".join(f"- {line}" for line in answer.remarks),
        (
            f"Model: {answer.folder}\n"
            f"Apply it: tl-research predict {quoted} --users users.csv --top 20 --out top20.parquet"
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def counted(number: int, what: str) -> str:
    """Return `1 test user`, `1,200 test users`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def twins_said(answer: RecommendAnswer, options: Options) -> str:
    """Return what the audit found, and what the answer is with the twins' rows on the other side."""
    task = answer.task
    if task.twins is None:
        return ""
    leaked = int(task.test_leaked.sum())
    if not len(task.twins):
        return "Twins: none; no two items of the shops have (nearly) the same buyers."
    found = (
        f"Twins: {len(task.twins):,} pairs of items in the two shops have (nearly) the same buyers: one product under "
        f"two ids. {leaked:,} of {len(task.test):,} test rows have their twin among the user's purchases in the old "
        "shop"
    )
    if not leaked:
        return f"{found}."
    shown = "left out" if options.twins == "drop" else "kept"
    other = "With them" if options.twins == "drop" else "Without them"
    beside = "no test row is left" if answer.beside is None else answer.beside.said
    return f"{found}; they are {shown} above. {other}: {beside}"


def audit_said(task: Task, files: Sequence[str]) -> str:
    """Return what the audit of twins found, as a page."""
    if task.rule is None or task.twins is None:
        return "The files share items by their ids, or there is no other file: there are no twins to look for.\n"
    rule = task.rule
    lines = [
        f"Items of {files[-1]} with a twin in {', '.join(files[:-1])}: {rule.jaccard:g} of the buyers of either bought "
        "both.",
        "",
        "| buyers, at least | items | with a twin | inside the new shop (scaled) | by chance |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {each.buyers} | {each.items:,} | {each.found:,} | {each.inside:.1f} | {each.by_chance} |"
        for each in rule.tried
    ]
    if not len(task.twins):
        return "\n".join([*lines, "", "No two items have (nearly) the same buyers: there are no twins."]) + "\n"
    stands = "stands out from chance and from one shop alone" if rule.holds else "does NOT stand out: look at the pairs"
    lines += [
        "",
        f"Rule: {rule.buyers} buyers or more; it {stands}. It finds {len(task.twins):,} pairs.",
        f"{int(task.test_leaked.sum()):,} of {len(task.test):,} held-out interactions (each user's last) have their "
        "twin in the old shop's file: a model that reads both files has seen them.",
    ]
    return "\n".join(lines) + "\n"


def _table(table: pd.DataFrame) -> str:
    names = [f"{name}@{K}" for name in PER_USER]
    head = ["method", "old shop", *names, "coverage", "novelty", "popularity bias"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for row in table.to_dict("records"):
        cells = [row["method"], "yes" if row["old shop"] else ""]
        cells += [f"{100 * row[name]:.2f}" for name in (*names, "coverage")]
        cells += [f"{row['novelty']:.1f}", f"{row['popularity bias']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _groups(groups: dict[str, Gain]) -> str:
    lines = [
        f"| test users | how many | NDCG@{K}, new shop alone | with the old shop | difference |",
        "|---|---:|---:|---:|---|",
    ]
    for name, gain in groups.items():
        ends = f" [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]" if gain.users > 1 else ""
        lines.append(
            f"| {name} | {gain.users:,} | {100 * gain.new:.2f} | {100 * gain.old:.2f} | {100 * gain.mean:+.2f}{ends} |"
        )
    return "\n".join(lines)
