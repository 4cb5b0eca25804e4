"""What a run saves for rules: the same scores as in training, none of a target's labels, and clear errors."""

import numpy as np
import pytest

from tests.contracts.problem import method_config
from tl_research.cli import main
from tl_research.config import compose, run_id
from tl_research.errors import DataError
from tl_research.evaluation.saved import outputs_file, read_outputs, saved_epochs, scores_of
from tl_research.registry import RULES
from tl_research.report.validators import qualities, scored_history
from tl_research.runs.experiment import run
from tl_research.runs.record import read_history

SHORT = ("data.n_source=200", "data.n_target=200", "trainer.max_epochs=3")
IN_TRAINING = ("im", "snd", "dev", "iwcv")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder of a run that saves its outputs."""
    output = tmp_path_factory.mktemp("saved")
    record = run(method_config("dann", output, *SHORT, "selection.save_outputs=true"))
    return output / record.run_id


def test_saved_outputs_score_as_training_did(saved):
    history = {row["epoch"]: row for row in read_history(saved)}
    files = saved_epochs(saved)
    assert [*files] == [*history] == [0, 1, 2]
    for epoch, path in files.items():
        scores = scores_of(path)
        assert {*scores} == {name for name, rule in RULES.items() if rule.reads_model}
        for rule in IN_TRAINING:
            assert scores[rule] == history[epoch][rule]


def test_no_label_of_the_target_is_saved(saved):
    assert not [read for read in read_outputs(outputs_file(saved, 0)) if read.startswith("target_")]
    labels = [read for read in read_outputs(outputs_file(saved, 0)) if read.endswith("/labels")]
    assert labels == ["source_val/labels"]


def test_a_run_may_choose_by_an_offline_rule_and_others_do_not_score_it(saved, tmp_path):
    record = run(method_config("dann", tmp_path, *SHORT, "selection.rule=mixval"))
    assert record.selection_rule == "mixval"
    assert record.metrics["mixval"]["score"] == max(row["mixval"] for row in scored_history(saved))
    assert "mmd" not in record.metrics
    assert not {"mixval", "mmd"} & {*read_history(saved)[0]}


def test_saving_is_no_part_of_the_run():
    plain, saving = (compose({"selection": {"save_outputs": value}}) for value in (False, True))
    assert run_id(plain) == run_id(saving)


def test_qualities_by_hand(saved):
    history = scored_history(saved)
    truth = [row["target_test/accuracy"] for row in history]
    by_rule = {quality.rule: quality for quality in qualities([saved], "accuracy")}
    assert not {"last", "oracle"} & {*by_rule}
    scores = [row["mmd"] for row in history]
    assert by_rule["mmd"].chosen == truth[int(np.argmax(scores))]
    assert by_rule["mmd"].best == max(truth)
    ranks = [np.argsort(np.argsort(values)) for values in (scores, truth)]
    if len(set(truth)) == len(truth):
        assert by_rule["mmd"].correlation == pytest.approx(np.corrcoef(*ranks)[0, 1])
    # Of a loss the lowest is the best.
    assert {quality.best for quality in qualities([saved], "log_loss")} == {
        min(row["target_test/log_loss"] for row in history)
    }


def test_the_command_prints_every_rule(saved, capsys):
    assert main(["validators", str(saved)]) == 0
    shown = capsys.readouterr().out
    assert all(rule in shown for rule in ("mixval", "nearest_source", "source_val"))


def test_what_is_not_there_is_said(saved, tmp_path, capsys):
    assert main(["validators", str(tmp_path)]) == 2
    assert "not all are folders of finished runs" in capsys.readouterr().err
    plain = run(method_config("source_only", tmp_path, *SHORT))
    assert main(["validators", str(tmp_path / plain.run_id)]) == 2
    assert "selection.save_outputs=true" in capsys.readouterr().err
    damaged = tmp_path / "epoch_0000.npz"
    damaged.write_bytes(outputs_file(saved, 0).read_bytes()[:500])
    with pytest.raises(DataError, match="no file of saved outputs"):
        read_outputs(damaged)
