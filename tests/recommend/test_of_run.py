"""Lists from the folder of a run: `fit` on a shop's own files, then `predict --users`."""

from __future__ import annotations

import pandas as pd
import pytest

from tl_research.cli.main import main
from tl_research.interactions.catalog.simulated_shops import SimulatedShopsConfig, draw


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shops")
    config = SimulatedShopsConfig(sources=["old"], target="new", n_users=80, n_items=40, overlap=0.5)
    for log in draw(config, 0):
        ids = {"user": [f"u{code}" for code in log.user], "item": [f"i{code}" for code in log.item], "ts": log.time}
        pd.DataFrame(ids).to_csv(folder / f"{log.name}.csv", index=False)
    return folder


@pytest.mark.parametrize("method", ["cross_ease", "bpr_mf"])
def test_a_run_on_own_files_gives_lists(method, shops, capsys):
    words = [
        f"data.sources=[{shops}/old.csv]", f"data.target={shops}/new.csv", "data.time=ts", f"output={shops}/runs",
        "trainer.max_epochs=2", "wandb.mode=disabled",
    ]  # fmt: skip
    assert main(["fit", "interactions", method, *words]) == 0
    said = capsys.readouterr().out
    folder = said.rstrip().split()[-1]
    new = pd.read_csv(shops / "new.csv")
    new[["user"]].drop_duplicates().head(5).to_csv(shops / "users.csv", index=False)
    arguments = ["predict", folder, "--users", str(shops / "users.csv"), "--top", "4", "--out", str(shops / "top.csv")]
    assert main(arguments) == 0
    lists = pd.read_csv(shops / "top.csv")
    assert lists.groupby("user").size().tolist() == [4] * 5
    # Nothing is listed that training has shown of the user, and only what the new shop sells.
    assert set(lists["item"]) <= set(new["item"])
    bought = new.sort_values("ts").groupby("user").head(1)[["user", "item"]]
    assert lists.merge(bought, on=["user", "item"]).empty


def test_a_recommender_is_asked_for_users_and_a_classifier_for_rows(shops, capsys):
    words = [f"output={shops}/runs", "trainer.max_epochs=1", "wandb.mode=disabled", "data.n_users=60"]
    assert main(["fit", "simulated_shops", "popularity", *words]) == 0
    folder = capsys.readouterr().out.rstrip().split()[-1]
    arguments = [folder, "--data", str(shops / "new.csv"), "--out", str(shops / "out.csv")]
    assert main(["predict", *arguments]) == 2
    assert "is a recommender: give it users, `predict --users FILE`" in capsys.readouterr().err
    assert main(["fit", "simulated_market", "source_only", *words[:3], "data.n_source=100", "data.n_target=100"]) == 0
    folder = capsys.readouterr().out.rstrip().split()[-1]
    assert main(["predict", folder, "--users", str(shops / "new.csv"), "--out", str(shops / "out.csv")]) == 2
    assert "is no recommender: give it rows to predict, --data FILE" in capsys.readouterr().err
