"""The processes of one run on several devices: started here on one machine, or by srun or torchrun on many.

Lightning's own launcher starts the command line again, which a worker, a notebook and a test do not have; so they are
started here, one level higher, by `torch.multiprocessing`, and Lightning finds them as it finds those of a cluster.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp
from lightning.fabric.plugins.environments import ClusterEnvironment, LightningEnvironment, TorchElasticEnvironment
from lightning.fabric.plugins.environments.lightning import find_free_network_port
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from omegaconf import DictConfig

from tl_research.errors import ConfigError, RunFailure
from tl_research.parallel import preemption
from tl_research.parallel.parent import end_with_parent

#: Seconds that the other processes have to end by themselves after one has failed.
GRACE_SECONDS = 10.0
#: How many were started here, in the environment of each.
_STARTED_HERE = "TL_RESEARCH_PROCESSES"


class ProcessDied(RunFailure):
    """A process of the run ended without a word: killed, or out of memory."""


def processes(config: DictConfig) -> int:
    """Number of processes that a run consists of."""
    return config.trainer.devices * config.trainer.num_nodes


def process_rank() -> int:
    """Number of this process among those of its run, before there is a process group too; 0 where it is alone."""
    if _started() == 1:
        return 0
    return int(os.environ["RANK"] if "RANK" in os.environ else os.environ["SLURM_PROCID"])


def is_to_be_started(config: DictConfig) -> bool:
    """Whether the run's processes are to be started from this one.

    Raises:
        ConfigError: srun or torchrun has started another number of them, or there are several nodes and nobody did.
    """
    wanted, started = processes(config), _started()
    if started == wanted or (wanted == 1 and _STARTED_HERE in os.environ):
        return False
    if started > 1:
        keys = "trainer.devices x trainer.num_nodes"
        raise ConfigError(f"{keys}: got {wanted} processes, but srun or torchrun has started {started}")
    if config.trainer.num_nodes > 1:
        wants = "1, or a start by srun or torchrun, one process a device"
        raise ConfigError(f"trainer.num_nodes: got {config.trainer.num_nodes}, wants {wants}")
    return True


def is_one_of_several_tasks() -> bool:
    """Whether srun or torchrun has started this process among others of its run."""
    return _STARTED_HERE not in os.environ and _started() > 1


def is_in_group() -> bool:
    """Whether this process is one of several that were started here."""
    return int(os.environ.get(_STARTED_HERE, 1)) > 1


def environments() -> list[ClusterEnvironment]:
    """Plugins of the Trainer: what says where this process stands, where it was started here."""
    return [LightningEnvironment()] if _STARTED_HERE in os.environ else []


def on_every_device(function: Callable[..., Any], arguments: tuple, *, devices: int) -> Any:
    """Call `function(*arguments)` in one new process per device, and return what that of rank 0 returned.

    They end with this process, however it ends. Where one fails the others are ended, and the error of the first is
    raised here, with the traceback of there as a note. A process that dies while it exits, after all have returned,
    costs nothing: its work is done.

    Raises:
        ProcessDied: one was killed before it returned.
    """
    with tempfile.TemporaryDirectory(prefix="tl-research-") as folder:
        with preemption.held_back():
            context = mp.start_processes(
                _enter,
                (function, arguments, find_free_network_port(), devices, os.getpid(), folder),
                nprocs=devices,
                join=False,
                start_method="spawn",
            )
        try:
            while not context.join(grace_period=GRACE_SECONDS):
                pass
        except (mp.ProcessRaisedException, mp.ProcessExitedException) as death:
            if not all((Path(folder) / f"{rank}.result").exists() for rank in range(devices)):
                raise _first_error(Path(folder), death) from None
        except BaseException:
            _end(context.processes)
            raise
        return pickle.loads((Path(folder) / "0.result").read_bytes())


def _enter(rank: int, function, arguments: tuple, port: int, devices: int, parent: int, folder: str) -> None:
    end_with_parent(parent)
    preemption.listen(requeues=False)
    # A worker or a notebook that torchrun has started alone is not to be found in its rendezvous.
    of_torchrun = [name for name in os.environ if name.startswith("TORCHELASTIC_")]
    for name in ("NODE_RANK", "GROUP_RANK", *of_torchrun):
        os.environ.pop(name, None)
    os.environ |= {
        _STARTED_HERE: str(devices), "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(devices),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    rank_zero_only.rank = rank
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // devices))
    faulthandler.enable()  # an abort within C code says in the run's log where it was
    try:
        result = function(*arguments)
        _part()
        _write(Path(folder) / f"{rank}.result", result)
    except BaseException as error:
        _write(Path(folder) / f"{rank}.error", (_portable(error), traceback.format_exc()))
        raise SystemExit(1) from None


def _part() -> None:
    """Leave the process group, all at once: one that exits early ends the store that the others still speak to."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _portable(error: BaseException) -> BaseException:
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _write(path: Path, content: Any) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(pickle.dumps(content))
    os.replace(temporary, path)


def _first_error(folder: Path, death: Exception) -> BaseException:
    # What the others say afterwards is that they have lost the first.
    written = sorted(folder.glob("*.error"), key=lambda path: path.stat().st_mtime_ns)
    killed = getattr(death, "signal_name", None)
    if killed is not None or not written:
        cause = killed or f"exit code {getattr(death, 'exit_code', '?')}"
        return ProcessDied(f"the process of rank {death.error_index} ended by {cause}")
    error, trace = pickle.loads(written[0].read_bytes())
    if not isinstance(error, (KeyboardInterrupt, SIGTERMException, preemption.Preempted, preemption.Terminated)):
        error.add_note(f"in the process of rank {written[0].stem}:\n{trace}")
    return error


def _end(alive: list) -> None:
    for process in alive:
        process.terminate()
    for process in alive:
        process.join(GRACE_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _started() -> int:
    """Processes of the group that this one was started in; 1 where it is alone."""
    if _STARTED_HERE in os.environ:
        return int(os.environ[_STARTED_HERE])
    return int(os.environ["WORLD_SIZE"]) if TorchElasticEnvironment.detect() else _slurm_tasks()


def _slurm_tasks() -> int:
    # Of this step: within `sbatch` but outside `srun` there is one process, whatever the number of tasks.
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))


def cluster_plugins() -> list[SLURMEnvironment]:
    """What a Trainer needs under `srun`: Lightning finds its ranks there, and leaves the queue to `preemption`.

    Where srun has started one torchrun per node, the ranks are torchrun's, which Lightning finds by itself.
    """
    is_of_srun = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    return [SLURMEnvironment(auto_requeue=False)] if is_of_srun else []
