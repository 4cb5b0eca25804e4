"""What reaches W&B, asserted on the live run: an offline run cannot be read back."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest

from tl_research.config import compose, run_id
from tl_research.errors import ConfigError, DataError
from tl_research.runs.record import Record
from tl_research.runs.tracking import close, log_summary, log_table_artifact, make_logger

wandb = pytest.importorskip("wandb")

PARTS = ["data.name=simulated_market", "method.name=dann", "seed=3", "wandb.project=shop", "wandb.tags=[a, b]"]


@pytest.fixture
def finished(monkeypatch):
    """Facts of every run at the moment it is finished: (id, exit code, summary)."""
    seen = []
    finish = wandb.Run.finish

    def spy(run, exit_code=None, **kwargs):
        seen.append((run.id, exit_code, dict(run.summary)))
        return finish(run, exit_code=exit_code, **kwargs)

    monkeypatch.setattr(wandb.Run, "finish", spy)
    return seen


def record(**changes) -> Record:
    plain = Record("r", "ok", "dann", "adversarial", "unsupervised", task={}, seed=3, config={})
    values = {
        "selection_rule": "source_val",
        "metrics": {
            "source_val": {"epoch": 4, "target_test/accuracy": 0.71, "source_val/auroc": 0.9},
            "oracle": {"epoch": 7, "target_test/accuracy": 0.75},
        },
        "throughput": {"step_ms_p50": 1.5},
        "resources": {"parameters": 12},
    }
    return replace(plain, **(values | changes))


def test_the_live_run_bears_the_run_s_identity_and_resolved_config(tmp_path):
    config = compose(None, PARTS)
    identifier = run_id(config)
    logger = make_logger(config, identifier, "amazon", tmp_path / "new" / "folder")
    try:
        run = logger.experiment
        assert (run.id, run.group, run.job_type, run.project) == (identifier, "amazon", "dann", "shop")
        assert (run.tags, run.settings.mode, run.settings.resume) == (("a", "b"), "offline", "allow")
        assert run.config["method"]["name"] == "dann"
        assert run.config["seed"] == 3
        assert run.config["trainer"]["max_epochs"] == config.trainer.max_epochs
        assert Path(run.dir).is_relative_to(tmp_path / "new" / "folder" / "wandb")
        # Neither the caller's own run nor the module's state is touched.
        assert wandb.run is None
    finally:
        close(logger)


def test_the_group_is_the_configured_one_then_the_suite_then_none(tmp_path):
    for overrides, suite, group in (([], "", None), ([], "suite", "suite"), (["wandb.group=mine"], "suite", "mine")):
        logger = make_logger(compose(None, [*PARTS, *overrides]), "abc", suite, tmp_path)
        try:
            assert (logger.experiment.group or None) == group
        finally:
            close(logger)


def test_two_runs_after_each_other_are_two_runs_with_their_own_numbers(tmp_path, finished):
    for number, identifier in enumerate(("first", "second")):
        config = compose(None, [*PARTS, f"seed={number}"])
        logger = make_logger(config, identifier, "suite", tmp_path / identifier)
        run = logger.experiment
        assert (run.id, run.config["seed"], len(dict(run.summary))) == (identifier, number, 0)
        logger.log_metrics({"train/loss": 0.5}, step=10)
        log_summary(logger, record(run_id=identifier, resources={"parameters": number}))
    assert [(identifier, code) for identifier, code, _ in finished] == [("first", 0), ("second", 0)]
    for number, (_, _, summary) in enumerate(finished):
        assert summary["source_val/target_test/accuracy"] == 0.71
        assert summary["oracle/target_test/accuracy"] == 0.75
        assert summary["source_val/source_val/auroc"] == 0.9
        assert (summary["source_val/epoch"], summary["oracle/epoch"]) == (4, 7)
        assert summary["throughput/step_ms_p50"] == 1.5
        assert summary["resources/parameters"] == number
        assert summary["selection_rule"] == "source_val"
        assert summary["train/loss"] == 0.5


def test_a_run_of_the_caller_stays_open_and_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    mine = wandb.init(id="mine", mode="offline", dir=str(tmp_path))
    try:
        logger = make_logger(compose(None, PARTS), "other", "", tmp_path)
        assert logger.experiment.id == "other"
        log_summary(logger, record())
        assert wandb.run is mine
        assert "oracle/epoch" not in dict(mine.summary)
    finally:
        mine.finish()


def test_close_finishes_as_failed_once_and_never_after_the_summary(tmp_path, finished):
    logger = make_logger(compose(None, PARTS), "broken", "", tmp_path)
    close(logger)
    close(logger)
    assert [(identifier, code) for identifier, code, _ in finished] == [("broken", 1)]
    logger = make_logger(compose(None, PARTS), "done", "", tmp_path)
    log_summary(logger, record())
    close(logger)
    close(None)
    assert [(identifier, code) for identifier, code, _ in finished[1:]] == [("done", 0)]


def test_a_trainer_s_metrics_reach_the_run(tmp_path, finished):
    class Module(L.LightningModule):
        def on_train_start(self):
            self.logger.log_metrics({"target_test/accuracy": 0.25, "epoch": 0}, step=5)

        def training_step(self, batch, batch_idx):
            return None

        def configure_optimizers(self):
            return None

    logger = make_logger(compose(None, PARTS), "trained", "", tmp_path)
    trainer = L.Trainer(
        max_steps=1, logger=logger, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Module(), [0, 1])
    log_summary(logger, record())
    (_, _, summary) = finished[0]
    assert summary["target_test/accuracy"] == 0.25
    assert summary["trainer/global_step"] == 5


def test_other_ranks_open_no_run(tmp_path, monkeypatch):
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1, raising=False)
    logger = make_logger(compose(None, PARTS), "abc", "", tmp_path / "rank1")
    logger.log_metrics({"x": 1.0}, step=0)
    log_summary(logger, record())
    assert not (tmp_path / "rank1").exists()


def test_disabled_imports_no_wandb_and_prints_nothing(tmp_path):
    code = f"""
import sys
from tl_research.config import compose
from tl_research.runs.tracking import close, log_summary, log_table_artifact, make_logger
logger = make_logger(compose(None, {[*PARTS, "wandb.mode=disabled"]!r}), "abc", "suite", {str(tmp_path)!r})
log_table_artifact("suite", ["nowhere.csv"], mode="disabled", folder={str(tmp_path)!r})
close(logger)
assert logger is None
assert "wandb" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not any(tmp_path.iterdir())


def test_an_offline_run_is_quiet_and_stays_in_its_folder(tmp_path):
    code = f"""
from tl_research.config import compose
from tl_research.runs.tracking import log_summary, make_logger
from tl_research.runs.record import Record
logger = make_logger(compose(None, {PARTS!r}), "abc", "suite", {str(tmp_path / "run")!r})
log_summary(logger, Record("abc", "ok", "dann", "adversarial", "unsupervised", {{}}, 0, {{}}))
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")} | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[1],
        env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    links = [path.name for path in (tmp_path / "run").rglob("*") if path.is_symlink()]
    assert set(links) <= {"debug-core.log"}  # the log of wandb's service, shared by its runs
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*-abc"))) == 1


def test_online_without_a_login_is_one_clear_error(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigError, match=r"wandb\.mode: online .*logged in.*wandb login.*wandb\.mode=offline"):
        make_logger(compose(None, [*PARTS, "wandb.mode=online"]), "abc", "", tmp_path)


def test_online_without_a_server_is_one_clear_error(tmp_path):
    code = f"""
import tl_research.runs.tracking as tracking
from tl_research.config import compose
from tl_research.errors import ConfigError
tracking.ONLINE_TIMEOUT = 2.0
try:
    tracking.make_logger(compose(None, {[*PARTS, "wandb.mode=online"]!r}), "abc", "", {str(tmp_path)!r})
except ConfigError as error:
    print(error)
"""
    environment = os.environ | {"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout.startswith("wandb.mode: online does not work here"), done.stderr
    assert done.stdout.count("\n") == 1


def test_the_table_files_become_an_artifact_of_a_table_run(tmp_path, monkeypatch, finished):
    files = [tmp_path / "s.csv", tmp_path / "s.md"]
    for file in files:
        file.write_text(f"content of {file.name}")
    logged = []
    original = wandb.Run.log_artifact

    def spy(run, artifact, *args, **kwargs):
        entries = {name: Path(entry.local_path).read_text() for name, entry in artifact.manifest.entries.items()}
        logged.append((run.job_type, run.group, run.project, artifact.name, artifact.type, entries))
        assert all(Path(e.local_path).is_relative_to(tmp_path) for e in artifact.manifest.entries.values())
        return original(run, artifact, *args, **kwargs)

    monkeypatch.setattr(wandb.Run, "log_artifact", spy)
    log_table_artifact("s", files, project="shop", folder=tmp_path / "runs")
    ((job, group, project, name, kind, entries),) = logged
    assert (job, group, project, kind) == ("table", "s", "shop", "table")
    assert name.startswith("s-table")
    assert entries == {"s.csv": "content of s.csv", "s.md": "content of s.md"}
    assert [code for _, code, _ in finished] == [0]


def test_an_artifact_of_a_missing_file_names_it_and_leaves_no_run(tmp_path, finished):
    with pytest.raises(DataError, match=r"gone\.csv"):
        log_table_artifact("s", [tmp_path / "gone.csv"], folder=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "s.csv").write_text("x")
    with pytest.raises(ValueError):
        log_table_artifact("a name/with: what artifacts refuse", [tmp_path / "s.csv"], folder=tmp_path / "runs")
    assert [code for _, code, _ in finished] == [1]


def test_a_run_that_fails_leaves_no_tracked_run_open(tmp_path, monkeypatch, finished):
    from tl_research.methods.baseline.source_only import SourceOnly
    from tl_research.runs.experiment import run

    parts = ["data.name=simulated_market", "data.n_source=200", "data.n_target=200", "trainer.max_epochs=1"]
    parts += ["trainer.accelerator=cpu", "encoder.name=linear", f"output={tmp_path}"]
    monkeypatch.setattr(SourceOnly, "task_loss", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(compose(None, parts))
    monkeypatch.undo()
    assert [code for _, code, _ in finished] == [1]


def test_a_run_s_record_and_its_summary_hold_the_same_numbers(tmp_path, finished):
    from tl_research.runs.experiment import run

    parts = ["data.name=simulated_market", "data.n_source=200", "data.n_target=200", "trainer.max_epochs=2"]
    done = run(compose(None, [*parts, "trainer.accelerator=cpu", f"output={tmp_path}"]), suite="s")
    ((identifier, code, summary),) = finished
    assert (identifier, code) == (done.run_id, 0)
    for rule, values in done.metrics.items():
        for name, value in values.items():
            assert summary[f"{rule}/{name}"] == pytest.approx(value)
