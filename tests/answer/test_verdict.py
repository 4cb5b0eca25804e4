"""The sentence says what the interval says, the interval is the formula's, and the labels that would decide it."""

import numpy as np
import pytest

from tl_research.answer.figures import possible_ends
from tl_research.answer.interval import gain_interval
from tl_research.answer.measured import ALWAYS, WITH, WITHOUT, Measured
from tl_research.answer.verdict import FEWEST_ROWS, UNDECIDED, Gain, Verdict, gain_of, judge, more_labels


def resample(number, figures, *, metric="auroc", train=80, test=20, pool=80, size=None, spread=0.01):
    """A resample whose figure without a part is the figure, give or take what `spread` and the seed say."""
    random = np.random.default_rng(number)
    left_out = {
        row: (values.get(metric, np.nan) + spread * random.normal(size=40) / 40).tolist()
        for row, values in figures.items()
    }
    return Measured(number, size, pool, train, test, True, figures, left_out, {}, {}, {}, [], {}, 1.0)


def resamples(metric, old, new, always=None, **sizes):
    always = old if always is None else always
    each = zip(old, new, always, strict=True)
    return [
        resample(at, {WITH: {metric: a}, WITHOUT: {metric: b}, ALWAYS: {metric: c}}, metric=metric, **sizes)
        for at, (a, b, c) in enumerate(each)
    ]


BASE = np.array([0.70, 0.71, 0.69, 0.72, 0.70])
NOISE = np.array([0.004, -0.003, 0.002, -0.001, -0.002])
CASES = {
    "helped": ("auroc", BASE + 0.05 + NOISE, BASE, None, "helped", "The old data helped: AUROC 0.754 against 0.704"),
    "hurt": ("auroc", BASE - 0.05 + NOISE, BASE, None, "hurt", "The old data hurt: AUROC 0.654 against 0.704"),
    "kept out": ("auroc", BASE, BASE, BASE - 0.05 + NOISE, "would have hurt",
                 "The old data would have hurt: AUROC 0.654 against 0.704"),
    "nothing": ("auroc", BASE + 5 * NOISE, BASE, BASE, "undecided",
                "No gain from the old data could be shown (AUROC 0.704 against"),
    "lower is better": ("rmse", 12 - 3 + 9 * NOISE, 12 + 0 * BASE, None, "helped",
                        "The old data helped: RMSE 9.00 against 12.00 from the new data alone, better by +3.00 [+"),
}  # fmt: skip


@pytest.mark.parametrize(("metric", "old", "new", "always", "kind", "begin"), CASES.values(), ids=CASES)
def test_the_sentence_says_what_the_interval_says(metric, old, new, always, kind, begin):
    verdict = judge(resamples(metric, old, new, always), metric)
    assert verdict.kind == kind
    said = verdict.sentence("`x`")
    assert said.startswith(begin)
    assert "use `x`" in said
    assert said.endswith(".")


def test_the_interval_is_of_the_paired_differences_and_of_what_the_gate_holds_back():
    found = resamples("auroc", BASE + NOISE, BASE, BASE - 0.02, train=10, pool=80)
    without, held = (
        np.array([np.subtract(each.left_out[row], each.left_out[WITHOUT]) for each in found]) for row in (WITH, ALWAYS)
    )
    sizes = {"test_rows": 20, "train_rows": 80, "shown_rows": 10}
    gain = gain_of(found, "auroc", WITH)
    assert (gain.low, gain.high) == gain_interval(NOISE + BASE - BASE, **sizes, without=without, held_back=held)
    gain = gain_of(found, "auroc", ALWAYS)
    assert (gain.low, gain.high) == gain_interval(BASE - 0.02 - BASE, **sizes, without=held)


def test_a_resample_without_the_metric_is_left_out_and_counted():
    found = [*resamples("auroc", BASE, BASE), resample(5, {WITH: {"accuracy": 1.0}, WITHOUT: {"accuracy": 1.0}})]
    gain = gain_of(found, "auroc", WITH)
    assert (gain.resamples, gain.lacking) == (5, 1)
    assert judge(found[5:], "auroc") is None


def test_one_resample_decides_nothing():
    verdict = judge(resamples("auroc", [0.9], [0.5]), "auroc")
    assert verdict.kind == "undecided"
    assert verdict.sentence("`x`") == (
        "No gain from the old data could be shown (AUROC 0.900 against 0.500 from the new data alone, "
        "better by +0.400); use `x`."
    )


@pytest.mark.parametrize(
    ("mean", "reach", "labels", "wanted"),
    [(0.01, 0.02, 100, 300), (0.02, 0.021, 1000, 110), (0.001, 0.02, 100, None), (0.0, 0.1, 100, None)],
)
def test_labels_that_would_decide(mean, reach, labels, wanted):
    """n' = n (reach / gain)²; nothing is said above a hundred times the labels."""
    assert more_labels(Gain(0.7, 0.7, mean, mean - reach, mean + reach, 10, 0), labels) == wanted


def test_with_so_many_labels_the_interval_ends_at_zero():
    gain = gain_of(resamples("auroc", BASE + 0.004 + 5 * NOISE, BASE), "auroc", WITH)
    labels = 80
    more = more_labels(gain, labels)
    reach = (gain.high - gain.low) / 2 * np.sqrt(labels / (labels + more))
    assert 0 < gain.mean - reach < 0.1 * gain.mean


@pytest.mark.parametrize(("metric", "sign"), [("auroc", 1), ("rmse", -1), ("log_loss", -1), ("mae", -1)])
def test_a_gain_is_positive_where_the_answer_is_better(metric, sign):
    """Also of errors; and a loss, within chance or not, has the model refitted without the old data."""
    for change in (-0.1, 0.0, 0.1):
        gain = gain_of(resamples(metric, BASE + change + NOISE, BASE), metric, WITH)
        assert gain.mean == pytest.approx(sign * change, abs=1e-12)
        assert gain.low < gain.mean < gain.high
        assert Verdict(UNDECIDED, metric, gain, 100).is_loss is (sign * change < 0)
    # The interval of an error is that of a score of the same figures, turned round.
    error, score = (gain_of(resamples(name, BASE + NOISE, BASE + 0.1), name, WITH) for name in (metric, "auroc"))
    assert (sign * error.low, sign * error.high)[::sign] == pytest.approx((score.low, score.high))


def test_an_interval_is_shown_within_what_the_metric_can_be():
    """Beside an AUROC of 0.9 nothing is better by more than 0.1, nor worse by more than 0.9."""
    wide = (-5.0, 5.0)
    ends = {
        ("auroc", 0.9): (-0.9, 0.1),
        ("r2", 0.4): (-5.0, 0.6),
        ("rmse", 3.0): (-5.0, 3.0),
        ("brier", 0.2): (-1.8, 0.2),
        ("log_loss", 0.7): (-5.0, 0.7),
        ("value:tp=20,fp=-1", 4.0): wide,
    }
    for (metric, base), wanted in ends.items():
        assert possible_ends(0.0, *wide, metric=metric, base=base) == pytest.approx(wanted), metric
    assert possible_ends(0.02, -0.01, 0.05, metric="auroc", base=0.9) == (-0.01, 0.05)
    # Means over other resamples than the base's may differ by more; the ends stay on both sides of what they are of.
    assert possible_ends(0.15, 0.11, 0.3, metric="auroc", base=0.9) == (0.11, 0.15)
    gain = Gain(1.0, 0.9, 0.1, -0.371, 0.571, 10, 0)
    assert "better by +0.100 [−0.371, +0.100]" in Verdict(UNDECIDED, "auroc", gain, 8).sentence("`x`")


def test_few_rows_have_no_interval_and_decide_nothing():
    few, enough = (
        resamples("auroc", BASE + 0.2 + NOISE, BASE, pool=FEWEST_ROWS - test, train=10, test=test + more)
        for test, more in ((5, -1), (5, 0))
    )
    assert judge(enough, "auroc").kind == "helped"
    verdict = judge(few, "auroc")
    assert (verdict.kind, verdict.more) == ("undecided", None)
    assert "[" not in verdict.sentence("`x`")
