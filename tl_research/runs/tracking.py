"""Weights & Biases: one W&B run per run, offline by default, and the tables of a suite as an artifact.

wandb is imported only where a run is tracked. Every run is opened with `reinit="create_new"`, so that it neither
takes over nor closes a run that the caller has open, and leaves nothing behind in the process.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from tl_research.errors import ConfigError, DataError
from tl_research.runs.record import Record

if TYPE_CHECKING:
    from wandb import Artifact, Run

#: Seconds that `wandb.mode=online` waits for the server before the run is given up.
ONLINE_TIMEOUT = 30.0


def make_logger(config: DictConfig, run_id: str, suite: str, folder: str | Path) -> WandbLogger | None:
    """Open the tracked run of one run and return Lightning's logger of it; only rank 0 opens one.

    Its id is the run's id, its group `wandb.group` or else the suite, its job type the method; the resolved
    configuration is its config. Files go to `<folder>/wandb`.

    Args:
        config: from `config.compose`.
        run_id: from `config.run_id`.
        suite: name of the suite, empty for a run of its own.
        folder: the run's folder.

    Returns:
        The logger, or None where `wandb.mode=disabled`; then wandb is not even imported.

    Raises:
        ConfigError: `wandb.mode=online` without a login or without the server.
    """
    options = config.wandb
    if options.mode == "disabled":
        return None
    run = None
    if rank_zero_only.rank in (None, 0):
        data = config.data
        run = _open(
            options.mode,
            folder,
            id=run_id,
            resume="allow",
            name=f"{config.method.name} {'+'.join(data.sources)}->{data.target} seed {config.seed}",
            project=options.project,
            entity=options.entity,
            group=options.group or suite or None,
            job_type=config.method.name,
            tags=list(options.tags),
            config=OmegaConf.to_container(config, resolve=True),
        )
        # What Lightning defines for the runs that it opens itself.
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(experiment=run, project=options.project, id=run_id, dir=str(folder))


def log_summary(logger: WandbLogger | None, record: Record) -> None:
    """Write the record's numbers into the run's summary and finish the run.

    Keys: `<rule>/<split>/<metric>`, `<rule>/epoch`, `throughput/<name>`, `resources/<name>`, `selection_rule`.
    """
    run = _run_of(logger)
    if run is None:
        return
    values: dict[str, Any] = {"selection_rule": record.selection_rule}
    groups = {**record.metrics, "throughput": record.throughput, "resources": record.resources}
    for group, numbers in groups.items():
        values |= {f"{group}/{name}": value for name, value in numbers.items()}
    run.summary.update(values)
    _finish(logger, exit_code=0)


def close(logger: WandbLogger | None) -> None:
    """Finish the tracked run as failed, unless `log_summary` has finished it; for the `finally` of a run."""
    _finish(logger, exit_code=1)


def log_table_artifact(
    suite: str,
    files: Sequence[str | Path],
    *,
    mode: str = "offline",
    project: str = "tl_research",
    entity: str | None = None,
    folder: str | Path,
) -> None:
    """Log the table files of a suite as the artifact `<suite>-table`, in a run of job type `table`.

    Args:
        suite: name of the suite; the group of the run.
        files: the files that were written (.csv, .md, .png).
        mode: `wandb.mode`; nothing happens where it is `disabled`.
        project, entity: as in the group `wandb` of the configuration.
        folder: its files go to `<folder>/wandb`; copies of the tables too, so that a later `wandb sync` sends
            what was logged whatever became of the originals.

    Raises:
        DataError: a file is not there.
        ConfigError: as `make_logger`.
    """
    if mode == "disabled":
        return
    paths = [Path(file) for file in files]
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file to log")
    run = _open(mode, folder, name=f"{suite} table", project=project, entity=entity, group=suite, job_type="table")
    try:
        run.log_artifact(_table_artifact(suite, paths, Path(run.dir).parent / "table"))
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish(exit_code=0)


def _table_artifact(suite: str, paths: Sequence[Path], copies: Path) -> Artifact:
    import wandb

    copies.mkdir(parents=True)
    artifact = wandb.Artifact(f"{suite}-table", type="table")
    for path in paths:
        # `immutable`: the copy here is the one that is sent; wandb would make its own in the home folder.
        artifact.add_file(str(shutil.copy2(path, copies)), policy="immutable", skip_cache=True)
    return artifact


def _open(mode: str, folder: str | Path, **arguments: Any) -> Run:
    """Open a run that prints nothing, reads no console, code, repository or machine, and links no files."""
    import wandb

    # Without the folder wandb would write to the temporary one instead, without a word.
    Path(folder).mkdir(parents=True, exist_ok=True)
    if mode == "online":
        _refuse_without_login()
    known = getattr(wandb.Settings, "model_fields", {})
    lean = {"x_disable_meta", "x_disable_stats", "x_disable_machine_info"} & set(known)
    settings = wandb.Settings(
        mode=mode,
        silent=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        symlink=False,
        init_timeout=ONLINE_TIMEOUT,
        **dict.fromkeys(lean, True),
        # Listing every installed package is most of the time that opening a run takes.
        **({"x_save_requirements": False} if "x_save_requirements" in known else {}),
    )
    try:
        return wandb.init(dir=str(folder), reinit="create_new", settings=settings, **arguments)
    except wandb.errors.Error as error:
        raise _online_failed(error) if mode == "online" else error from None


def _refuse_without_login() -> None:
    """wandb would ask at the terminal, which in a worker or a batch job waits for ever."""
    import wandb

    if "prompt" not in inspect.signature(wandb.login).parameters:
        return  # an older wandb; only `wandb.init` can tell
    try:
        logged_in = wandb.login(prompt=False, verify=False)
    except wandb.errors.Error as error:
        raise _online_failed(error) from None
    if not logged_in:
        raise _online_failed("nobody is logged in on this machine")


def _online_failed(reason: object) -> ConfigError:
    first = str(reason).split("\n")[0]
    return ConfigError(
        f"wandb.mode: online does not work here: {first}; run `wandb login` and see that the server can be reached, "
        "or take wandb.mode=offline"
    )


def _run_of(logger: WandbLogger | None) -> Run | None:
    # Not `logger.experiment`: that would open a new run where there is none.
    return None if logger is None else logger._experiment


def _finish(logger: WandbLogger | None, *, exit_code: int) -> None:
    run = _run_of(logger)
    if run is not None:
        logger._experiment = None
        run.finish(exit_code=exit_code)
