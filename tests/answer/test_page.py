"""What is printed and drawn, from facts made up so that every branch is seen."""

from pathlib import Path

import pytest

from tl_research.answer import plot
from tl_research.answer.answer import Answer
from tl_research.answer.curve import points_of, said
from tl_research.answer.figures import decimals, difference, rounded, shown
from tl_research.answer.page import left_out_line, page, screen
from tl_research.answer.plot import plot_curve, plot_rows
from tl_research.answer.verdict import FEWEST_ROWS, Gain, Verdict
from tl_research.report.plot import save


def row(name, auroc, gain, *, weight=None, reads="new"):
    return {
        "row": name, "reads": reads, "loss": 0.5, "auroc": auroc, "log_loss": 0.4,
        "gain": gain, "low": None if gain is None else gain - 0.02, "high": None if gain is None else gain + 0.02,
        "weight": weight,
    }  # fmt: skip


def answer(folder=Path("answers/abc"), *, parts=12, curve=()):
    verdict = Verdict("helped", "auroc", Gain(0.716, 0.671, 0.045, 0.012, 0.078, 9, 1), 240)
    table = [row("with old data", 0.716, 0.045, reads="old and new"), row("new data only", 0.671, None)]
    table += [row(f"part {at}", 0.7 - at / 100, 0.03 - at / 100, weight=0.1 if at < 3 else None) for at in range(parts)]
    return Answer.of(
        folder,
        {
            "question": {"old": ["old.csv"], "new": "new.csv", "label": "y"},
            "verdict": verdict.as_dict() | {"said": verdict.sentence("`with old data`"), "use": "with old data"},
            "metrics": ["auroc", "log_loss"],
            "table": table,
            "unlabelled": [{"row": "linear", "auroc": 0.6, "log_loss": 0.7}],
            "calibration": {"means": {"yes": (0.152, 0.149)}, "ece": 0.018},
            "leaks": {},
            "curve": points_of(curve),
            "curve_said": said(curve) if curve else "",
            "resamples": {"count": 10, "train": 240, "test": 60, "gate_open": 10},
            "rows": {
                "new_rows": 500,
                "labelled": 300,
                "labelled_used": 300,
                "old_rows": 50_000,
                "old_rows_used": 20_000,
            },
            "columns_left_out": ["id", "mail"],
            "remarks": ["column 'id' is left out: it numbers the rows"],
        },
    )


def test_the_screen_is_one_screen_and_says_all():
    lines = screen(answer()).splitlines()
    assert len(lines) <= 24
    assert lines[0] == (
        "The old data helped: AUROC 0.716 against 0.671 from the new data alone, better by +0.045 [+0.012, +0.078]; "
        "use `with old data`."
    )
    assert lines[2].split() == ["row", "reads", "AUROC", "better", "by", "log", "loss", "weight"]
    assert "... and 3 more in answer.csv" in lines
    assert "Without any label of the new file: AUROC linear 0.600" in lines
    assert "Calibration: mean of 'yes' predicted 0.152, actual 0.149" in lines
    left_out = next(line for line in lines if line.startswith("Left out"))
    assert left_out == (
        "Left out: 200 rows of the new file without a label, 30,000 old rows (method.source_rows), columns id, mail "
        "(1 note in answer.md)"
    )
    assert lines[-1] == "Apply it: tl-research predict answers/abc --data FILE --out scores.parquet"


def test_a_size_that_the_curve_leaves_out_is_counted_where_nothing_else_is():
    facts = answer().facts
    facts["rows"] = dict.fromkeys(facts["rows"], 300)
    facts |= {"columns_left_out": [], "curve_left_out": [500, 1000], "remarks": ["--curve: 500 labels are left out"]}
    assert left_out_line(facts) == "Left out: 500, 1,000 labels of --curve (1 note in answer.md)"


def test_an_error_is_better_by_a_positive_number_on_the_screen_the_page_and_the_curve():
    made = answer()
    made.facts["metrics"] = ["rmse", "auroc"]
    for row in made.facts["table"]:
        row["rmse"] = 3.0 - (row["gain"] or 0.0)
    made.facts["unlabelled"] = []
    made.facts["curve"] = [Verdict("helped", "rmse", Gain(2.5, 3.0, 0.5, 0.1, 4.9, 10, 0), 20).as_dict()]
    assert "2.955  +0.045 [+0.025, +0.065]" in screen(made)
    text = page(made)
    assert "| labels | with old data | new data only | better by | verdict |" in text
    assert "| 20 | 2.500 | 3.000 | +0.500 [+0.100, +3.000] | helped |" in text, "an RMSE is not below 0"


def test_too_few_rows_for_an_interval_are_one_line():
    made = answer()
    made.facts["rows"]["labelled_used"] = FEWEST_ROWS - 1
    line = "19 labelled rows are too few for an interval, which wants 20: nothing is decided."
    assert screen(made).splitlines()[1] == line
    assert line in page(made)
    assert "too few" not in screen(answer())


def test_the_page_has_every_row_and_note():
    text = page(answer())
    assert all(f"| part {at} |" in text for at in range(12))
    assert "1 of them had no value of AUROC and are left out" in text
    assert "- column 'id' is left out" in text


POINTS = {"helped": (0.04, 0.01, 0.07), "undecided": (0.01, -0.02, 0.04), "hurt": (-0.04, -0.07, -0.01)}


def curve(*kinds):
    sizes = (20, 50, 200, 1000)
    return [
        Verdict(kind, "auroc", Gain(0.7 + POINTS[kind][0], 0.7, *POINTS[kind], 10, 0), size)
        for kind, size in zip(kinds, sizes, strict=False)
    ]


@pytest.mark.parametrize(
    ("kinds", "begin"),
    [
        (("helped", "helped", "undecided"), "The old data pay up to 50 labels; from 200 on no gain can be shown"),
        (("helped", "hurt"), "The old data pay up to 20 labels; from 50 on they hurt"),
        (("undecided", "helped"), "At the largest number of labels tried (50 of 20, 50) the old data still pay."),
        (("undecided", "undecided"), "At no number of labels tried (20, 50) could a gain"),
    ],
)
def test_the_curve_says_from_where_the_old_data_do_not_pay(kinds, begin):
    assert said(curve(*kinds)).startswith(begin)


def test_the_pictures_are_drawn_also_where_an_interval_has_no_end(tmp_path, monkeypatch):
    points = [*curve("helped", "undecided", "hurt"), Verdict(
        "undecided", "auroc", Gain(0.7, 0.7, 0.0, float("-inf"), float("inf"), 1, 0), 1000
    )]  # fmt: skip
    made = answer(tmp_path, curve=points)
    drawn = []
    monkeypatch.setattr(plot, "save", lambda figure, path: drawn.append(figure.axes[0]) or save(figure, path))
    plot_rows(made, tmp_path / "rows.png")
    plot_curve(made, tmp_path / "curve.png")
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("rows.png", "curve.png"))
    assert [axes.get_xlabel().startswith("AUROC: better by") for axes in drawn] == [True, False]
    assert drawn[1].get_ylabel() == "AUROC: better by, with the old data"
    assert "| 1,000 | 0.700 | 0.700 | +0.000 | undecided |" in page(made)
    made.save()
    assert Answer.load(tmp_path).facts == made.facts


@pytest.mark.parametrize(
    ("metric", "level", "value", "wanted"),
    [("auroc", 0.7, 0.71649, "0.716"), ("rmse", 12.3456, 12.3456, "12.35"), ("rmse", 4321.0, 4321.4, "4,321"),
     ("rmse", 0.00123, 0.00123, "0.00123"), ("log_loss", 0.391, 0.391, "0.391"), ("r2", -3.3, -3.3, "-3.300")],
)  # fmt: skip
def test_figures_have_the_digits_that_matter(metric, level, value, wanted):
    assert shown(value, decimals(metric, level)) == wanted


def test_differences_have_a_sign_and_counts_two_digits():
    assert [difference(value, 3) for value in (0.01, -0.01, 0.0)] == ["+0.010", "−0.010", "+0.000"]
    assert [rounded(count) for count in (7.2, 99.5, 123, 1_987)] == [8, 100, 130, 2_000]
