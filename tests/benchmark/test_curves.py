import matplotlib.image
import numpy as np

from tests.benchmark.fake import Row, Suite, Task, filled
from tl_research.report.collect import collect
from tl_research.report.curves import COLOURS, plot_curves
from tl_research.report.scores import Scores
from tl_research.report.table import render

SHOTS = (5, "all")
CURVE = {
    "tasks": tuple(Task(f"{name} {shots}", of=name, shots=shots) for name in ("a->b", "b->a") for shots in SHOTS),
    "methods": (Row("target_only", "target_only"), Row("dann", "dann")),
    "baseline": "target_only",
    "shots": SHOTS,
}


def test_a_number_of_labels_has_its_own_scores_and_difference():
    fake = Suite(**CURVE)
    frame = collect(filled(fake, {"dann": 0.1}), fake)
    frame.loc[(frame.label == "dann") & frame.task.str.contains("all"), "value"] -= 0.2
    scores = Scores.of(frame, fake, "accuracy")
    few, every = (scores.at(fake, shots) for shots in SHOTS)
    assert few.tasks == ("a->b 5", "b->a 5")
    assert few.difference("dann", "target_only", None).verdict(True) == "helps"
    assert every.difference("dann", "target_only", None).verdict(True) == "hurts"
    page = render(frame, fake)
    assert "By number of target labels" in page
    assert "at the same labels" in page


def test_the_picture_has_a_line_a_row_and_is_the_same_file_for_the_same_numbers(tmp_path):
    fake = Suite(**CURVE)
    frame = collect(filled(fake, {"dann": 0.1}), fake)
    for name in ("a.png", "b.png"):
        plot_curves(frame, fake, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pixels = (matplotlib.image.imread(tmp_path / "a.png")[..., :3] * 255).round().astype(int).reshape(-1, 3)
    found = set(map(tuple, np.unique(pixels, axis=0)))
    assert tuple(int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)) in found


def test_a_curve_without_records_is_an_empty_picture(tmp_path):
    fake = Suite(**CURVE)
    plot_curves(collect([], fake), fake, tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 0
