"""`evaluate` on an answer's folder: its model has learnt from every row of the answer's files, and that is said."""

import numpy as np
import pandas as pd

import tl_research
from tl_research.cli.main import main


def test_evaluate_says_what_the_model_has_learnt_from(tmp_path, capsys):
    draw, frames = np.random.default_rng(0), []
    for rows in (80, 60):
        x = draw.normal(size=rows)
        frames.append(pd.DataFrame({"x": x, "y": np.where(x + draw.normal(size=rows) > 0, "yes", "no")}))
    options = {"resamples": 2, "jobs": 1, "overrides": ["method.trees=3"], "output": tmp_path / "answers"}
    answer = tl_research.compare(*frames, label="y", **options)
    frames[1].to_csv(tmp_path / "new.csv", index=False)
    assert main(["evaluate", str(answer.folder), "--data", str(tmp_path / "new.csv")]) == 0
    found = capsys.readouterr()
    assert "has learnt from every row of the answer's files: measure it on other rows" in found.err
    assert "auroc" in found.out
