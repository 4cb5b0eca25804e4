"""Speed and scale of the closed-form and instance families.

    python benchmarks/closed_form.py --peers [--peer-python PATH] [--rows 2000] [--columns 800] [--threads 2]
                                     [--limit 240] [--method tca kmm] [--out benchmarks/results/closed_form_peers.csv]
    python benchmarks/closed_form.py --scale [--scale-rows 100000] [--scale-columns 100] [--error-rows 10000]
                                     [--device cpu] [--out benchmarks/results/closed_form_scale.csv]

`--peers`: ours beside `skada` and `adapt`, end to end with a logistic head (C = 1, at most 1,000 steps): fit on the
source and the target's inputs, predict the target. Each cell is a subprocess of its own, in `--peer-python` for the
peers, whose dependencies are many; it runs once on 100 rows, then is timed without imports, best of what fits into 2
seconds. Ours and the peers take turns, twice where a turn takes less than 20 s. Alignments are timed on
`moved_domains`, weightings on `selected_domains`; both sides are given the parameters of `peers/closed_form_peers.py`.

`--scale`: every alignment and weighting with its default path on many rows: seconds of the fit and of the map of
both domains (or of the weights), and the peak resident set of its fresh process, rows and libraries included. Beside
it, at `--error-rows` a domain, the relative difference of the approximate path from the exact one: of the mapped
rows in Frobenius norm (for projections after the best rotation of one embedding onto the other, which no distance
sees; for ot_mapping of the displacements; for meda of the outputs), or of the weights.

With `--device cuda` the rows lie on the card, seconds last until it is done, and the peak is that of its memory; a few
rows are fitted before, so that the card's libraries are loaded.

Cells in the CSV are not run again; `--fresh` begins anew. A card's cells are run again where card or versions differ. A
cell without a figure says why: `not installed`, `> 240 s` (over the limit), `failed: ...`, `not measured`. Load is the
one-minute average when the cell began; processor seconds stand beside the seconds, because a loaded machine changes
them less.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from card import IDENTITY, identity, is_here
from cells import MACHINE, Table, run_cell
from peers.closed_form_peers import METHODS as PEER_METHODS
from peers.closed_form_peers import SETTINGS, report
from rounds import synchronize

HERE = Path(__file__).resolve().parent
WARM_ROWS = 100
WARM_CARD_ROWS = 500
CLASSES = 4

# The tasks ---------------------------------------------------------------------------------------------------------


def moved_domains(rows: int, columns: int, seed: int = 0):
    """Four Gaussian classes in 20 latent columns; the target's are stretched by a symmetric matrix and shifted.

    The map between the domains is the least-moving one between their Gaussians, so that every alignment can undo
    part of it. Latent columns are turned into all columns, with noise.
    """
    g, latent = np.random.default_rng(seed), min(20, columns)
    centres = g.normal(size=(CLASSES, latent)) / math.sqrt(2)
    scale = np.linspace(1.5, 0.5, latent)
    basis = np.linalg.qr(g.normal(size=(columns, latent)))[0] * math.sqrt(columns / latent) / 2
    turn = np.linalg.qr(g.normal(size=(latent, latent)))[0]
    stretch = turn * np.geomspace(1 / 3, 3, latent) @ turn.T
    shift = 1.5 * g.normal(size=latent)

    def domain(is_target: bool):
        label = g.integers(CLASSES, size=rows)
        z = (centres[label] + g.normal(size=(rows, latent))) * scale
        if is_target:
            z = z @ stretch + shift
        return z @ basis.T + g.normal(size=(rows, columns)) / 2, label

    return *domain(False), *domain(True)


def selected_domains(rows: int, columns: int, seed: int = 0):
    """One rule for both domains that no line fits, and a latent column whose range differs: covariate shift.

    y = [z_0 > z_1² - 1]: where most of the source lies a line falls, where the target lies it rises.
    """
    g, latent = np.random.default_rng(seed), min(5, columns)
    basis = np.linalg.qr(g.normal(size=(columns, latent)))[0] * math.sqrt(columns / latent) / 2

    def domain(mean: float, spread: float):
        z = g.normal(size=(rows, latent))
        z[:, 1] = mean + spread * z[:, 1]
        label = (z[:, 0] > z[:, 1] ** 2 - 1).astype(int)
        return z @ basis.T + g.normal(size=(rows, columns)) / 4, label

    return *domain(-0.5, 1.0), *domain(0.7, 0.5)


TASKS = {"moved": moved_domains, "selected": selected_domains}


def write_task(path: Path, name: str, rows: int, columns: int, seed: int) -> None:
    x, y, u, v = TASKS[name](rows, columns, seed)
    # as the methods' pages say, columns are standardised over the pooled rows
    pooled = np.concatenate([x, u])
    mean, std = pooled.mean(axis=0), pooled.std(axis=0)
    x, u = (x - mean) / std, (u - mean) / std
    warm = {"warm_x": x[:WARM_ROWS], "warm_y": y[:WARM_ROWS], "warm_u": u[:WARM_ROWS]}
    np.savez(path, x=x, y=y, u=u, v=v, **warm)


# Our methods -------------------------------------------------------------------------------------------------------


def own_alignment(method: str, rows: int, columns: int):
    """With the peers' parameters."""
    from tl_research.alignment.bda import BDA
    from tl_research.alignment.coral import CORAL
    from tl_research.alignment.gfk import GFK
    from tl_research.alignment.jda import JDA
    from tl_research.alignment.linear_monge import LinearMonge
    from tl_research.alignment.mean_alignment import MeanAlignment
    from tl_research.alignment.none import NoAlignment
    from tl_research.alignment.ot_mapping import OTMapping
    from tl_research.alignment.subspace_alignment import SubspaceAlignment
    from tl_research.alignment.tca import TCA
    from tl_research.alignment.tjm import TJM

    s, k = SETTINGS, min(SETTINGS["components"], columns)
    kernel = {"kernel": "rbf", "bandwidth": math.sqrt(columns / 2), "unit_norm": False, "scaling": "weights"}
    kernel |= {"components": k, "regularizer": 1 / s["mu"]}
    transport = {"regularization": s["regularization"], "tolerance": s["tolerance"], "max_iterations": 1000}
    return {
        "source_only": NoAlignment,
        "mean_alignment": MeanAlignment,
        "coral": lambda: CORAL(ridge=s["ridge"]),
        "subspace_alignment": lambda: SubspaceAlignment(components=k),
        "gfk": lambda: GFK(components=k),
        "linear_monge": lambda: LinearMonge(ridge=s["ridge"]),
        "tca": lambda: TCA(**kernel),
        "jda": lambda: JDA(**kernel, iterations=s["rounds"]),
        "bda": lambda: BDA(**kernel, iterations=s["rounds"]),
        "tjm": lambda: TJM(**kernel, iterations=s["rounds"]),
        "ot_entropic": lambda: OTMapping(**transport),
        "ot_exact": lambda: OTMapping(solver="exact"),
        "ot_class_regularized": lambda: OTMapping(
            solver="class_regularized", class_weight=s["class_weight"], **transport
        ),
    }[method]()


ALIGNMENTS = [
    *("source_only", "coral", "subspace_alignment", "linear_monge", "tca", "jda", "tjm"),
    *("ot_entropic", "ot_exact", "ot_class_regularized"),
]
WEIGHTING_NAMES = ["kmm", "kliep", "ulsif", "rulsif", "nearest_neighbour_weight", "density_ratio"]
#: The issue's bar, in times faster than the faster peer; 1 for the others.
BARS = {"tca": 5.0, "jda": 5.0, "ot_entropic": 5.0}


def own_weighting(method: str, source, target):
    """With the peers' parameters: one bandwidth, one penalty, nothing cross-validated that they do not."""
    from tl_research.registry import WEIGHTINGS
    from tl_research.weighting.prepared import median_distance, prepared

    s, sigma = SETTINGS, math.sqrt(source.shape[1] / 2)
    rows = prepared(source, target, 0)
    basis = {"centres": s["centres"], "widths": [sigma / median_distance(rows.source, rows.target)]}
    options = {
        "kmm": {"bandwidth": sigma, "bound": s["bound"]},
        "kliep": basis,
        "ulsif": {**basis, "ridge": [s["lambda"]]},
        "rulsif": {**basis, "ridge": [s["lambda"]], "alpha": s["alpha"]},
        "nearest_neighbour_weight": {"k": 1},
        # mean log loss + ridge / 2 ||w||²: C = 1
        "density_ratio": {"ridge": [1 / (s["C"] * (len(source) + len(target)))]},
    }[method]
    return WEIGHTINGS.get(method).config(**options)


def own_predictions(method: str, x: np.ndarray, y: np.ndarray, u: np.ndarray, weighting=None) -> np.ndarray:
    import torch

    from tl_research.alignment.base import Rows
    from tl_research.heads.linear import Logistic
    from tl_research.weighting.base import weigh

    source, label, target = (torch.from_numpy(part) for part in (x, y, u))
    classes, head = int(label.max()) + 1, Logistic(penalty=1 / SETTINGS["C"])
    head.tolerance = SETTINGS["head_tolerance"]
    if method in WEIGHTING_NAMES:
        weight = weigh(source, target, weighting, label=label, seed=0).weight
        head.fit(source, label, weight, classes=classes, seed=0)
        return head(target).argmax(dim=1).numpy()
    alignment = own_alignment(method, *x.shape)
    alignment.fit(Rows(source, label), Rows(target), classes=classes, seed=0)
    head.fit(alignment.source(source), label, None, classes=classes, seed=0)
    return head(alignment.target(target)).argmax(dim=1).numpy()


def run_own(method: str, task: str, repeat_for: float) -> None:
    """In a fresh process."""
    import torch

    task, weighting = dict(np.load(task)), None
    if method in WEIGHTING_NAMES:
        # ours count bandwidths in median distances; the peers' are given as they are
        weighting = own_weighting(method, torch.from_numpy(task["x"]), torch.from_numpy(task["u"]))
    report(lambda x, y, u: own_predictions(method, x, y, u, weighting), task, repeat_for)


# Scale -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """An alignment or weighting by its method's name, and how its exact and approximate paths are asked for."""

    kind: str
    name: str
    options: dict = field(default_factory=dict)
    approximate: dict | None = None  # None: the default path is exact
    exact: dict | None = None
    compared: str = ""  # what the error is of


def scale_parts() -> dict[str, Part]:
    nystrom = {"approximate": {"exact_rows": 0}, "exact": {"exact_rows": 10**9}}
    rotated = {"compared": "mapped rows, after rotation"}
    looked = {"approximate": {"cv_rows": 5_000}, "exact": {"cv_rows": 10**9}, "compared": "weights"}
    plain = ["mean_alignment", "joint_pca", "coral", "subspace_alignment", "gfk", "linear_monge"]
    plain += ["feature_augmentation", "easy_tl", "tca", "jda", "bda"]
    parts = {name: Part("alignment", name) for name in plain}
    for name in ("tca", "jda", "bda"):
        parts[f"{name} rbf"] = Part("alignment", name, {"kernel": "rbf"}, **nystrom, **rotated)
    parts["tjm"] = Part("alignment", "tjm", **nystrom, **rotated)
    parts["tjm rbf"] = Part("alignment", "tjm", {"kernel": "rbf"}, **nystrom, **rotated)
    parts["meda"] = Part("alignment", "meda", **nystrom, compared="outputs")
    ways = {"approximate": {"rows": "landmarks"}, "exact": {"rows": "all", "out_of_sample": "entropic"}}
    parts["ot_mapping"] = Part("alignment", "ot_mapping", **ways, compared="displacements")
    ways = {"approximate": {"path": "nystrom"}, "exact": {"path": "dense"}}
    parts["kmm"] = Part("weighting", "kmm", **ways, compared="weights")
    for name in ("kliep", "ulsif", "rulsif", "density_ratio"):
        parts[name] = Part("weighting", name, **looked)
    parts["nearest_neighbour_weight"] = Part("weighting", "nearest_neighbour_weight")
    for similarity in ("gaussian", "cosine", "euclidean", "mahalanobis"):
        parts[f"similarity_weight {similarity}"] = Part("weighting", "similarity_weight", {"similarity": similarity})
    parts["similarity_weight domain_score"] = Part(
        "weighting", "similarity_weight", {"similarity": "domain_score"}, **looked
    )
    parts["sample_selection"] = Part("weighting", "sample_selection", **looked)
    parts["sample_selection neighbours"] = Part("weighting", "sample_selection", {"score": "neighbours"})
    return parts


def make_alignment(name: str, options: dict):
    """The alignment of a registered method with its default options and these."""
    from tl_research.alignment.base import ALIGNMENTS

    # EasyTL's alignment is CORAL.
    return ALIGNMENTS.get("coral" if name == "easy_tl" else name).target(**options)


def run_part(part: Part, options: dict, rows: int, columns: int, device: str):
    """Mapped rows of both domains or the weights, the facts, and the seconds that they took."""
    import torch

    import tl_research.methods  # noqa: F401  before the clock starts
    from tl_research.alignment.base import Rows
    from tl_research.registry import WEIGHTINGS
    from tl_research.weighting.base import weigh

    task = moved_domains if part.kind == "alignment" else selected_domains
    x, y, u, _ = task(rows, columns)
    source, target, label = torch.from_numpy(x).float(), torch.from_numpy(u).float(), torch.from_numpy(y)
    mean, std = source.mean(dim=0), source.std(dim=0)
    source, target = (source - mean) / std, (target - mean) / std
    del x, u
    source, target, label = source.to(device), target.to(device), label.to(device)
    synchronize(device)
    classes = int(label.max()) + 1
    options = {**part.options, **options}
    begun = (perf_counter(), process_time())
    if part.kind == "weighting":
        found = weigh(source, target, WEIGHTINGS.get(part.name).config(**options), label=label, seed=0)
        return found.weight, found.facts, since(begun, device), source
    alignment = make_alignment(part.name, options)
    alignment.fit(Rows(source, label), Rows(target), classes=classes, seed=0)
    mapped = torch.cat([alignment.source(source), alignment.target(target)])
    return mapped, alignment.facts(), since(begun, device), source


def since(begun: tuple[float, float], device: str) -> dict[str, float]:
    """Seconds and processor seconds: the second hardly depends on what else the machine does."""
    synchronize(device)
    return {"seconds": perf_counter() - begun[0], "cpu_seconds": process_time() - begun[1]}


def reset_peak(device: str) -> None:
    import torch

    torch.cuda.reset_peak_memory_stats(device)


def peak_gb(device: str) -> float:
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    import torch

    return torch.cuda.max_memory_allocated() / 2**30


def run_scale_cell(name: str, rows: int, columns: int, device: str) -> None:
    """In a fresh process."""
    if device == "cuda":
        run_part(scale_parts()[name], {}, min(rows, WARM_CARD_ROWS), columns, device)
        reset_peak(device)
    _, facts, seconds, _ = run_part(scale_parts()[name], {}, rows, columns, device)
    peak = peak_gb(device)
    said = {key: value for key, value in facts.items() if key in SAID}
    print(json.dumps({**seconds, "peak_gb": peak, "path": "; ".join(f"{k}={v}" for k, v in said.items())}))


SAID = ("path", "kernel", "rounds", "reference_rows", "graph_rows", "landmarks", "source_landmarks", "iterations")
SAID += ("converged", "marginal_error", "steps", "cv_rows", "target_rows", "source_rows_let_go", "warning")


def run_error_cell(name: str, rows: int, columns: int, device: str) -> None:
    """In a fresh process: relative difference of the approximate from the exact path."""
    import torch

    part = scale_parts()[name]
    near, _, near_seconds, source = run_part(part, part.approximate, rows, columns, device)
    exact, _, exact_seconds, _ = run_part(part, part.exact, rows, columns, device)
    near, exact = near.double(), exact.double()
    if "rotation" in part.compared:
        u, _, vt = torch.linalg.svd(near.T @ exact)
        near = near @ (u @ vt)
    size = exact
    if part.compared == "displacements":
        near, exact = near[:rows], exact[:rows]
        size = exact - source
    error = float((near - exact).norm() / size.norm())
    print(json.dumps({"error": error, **near_seconds, "exact_seconds": exact_seconds["seconds"]}))


# The peers ---------------------------------------------------------------------------------------------------------

PEER_KEY = ["method", "who", "rows", "columns", "threads"]
PEER_FIELDS = [*PEER_KEY, "task", "status", "seconds", "cpu_seconds", "accuracy", "load", "machine"]


def whose(method: str) -> list[str]:
    return ["ours", *(peer for peer, methods in PEER_METHODS.items() if method in methods)]


def run_peers(arguments) -> int:
    path = Path(arguments.out or HERE / "results" / "closed_form_peers.csv")
    table = Table(path, PEER_FIELDS, PEER_KEY, arguments.fresh)
    size = {"rows": arguments.rows, "columns": arguments.columns, "threads": arguments.threads}
    methods = arguments.method or ALIGNMENTS + WEIGHTING_NAMES
    print(f"{arguments.rows:,} rows per domain, {arguments.columns} columns, {arguments.threads} threads, {MACHINE}")
    with tempfile.TemporaryDirectory() as folder:
        for name in TASKS:
            write_task(Path(folder) / f"{name}.npz", name, arguments.rows, arguments.columns, 0)
        for method in methods:
            task = "selected" if method in WEIGHTING_NAMES else "moved"
            file = str(Path(folder) / f"{task}.npz")
            commands = {}
            for who in whose(method):
                if who == "ours":
                    commands[who] = [sys.executable, __file__, "--own", method, file]
                else:
                    peer = str(HERE / "peers" / "closed_form_peers.py")
                    commands[who] = [arguments.peer_python, peer, who, method, file]
            missing = {who: c for who, c in commands.items() if not table.find(method=method, who=who, **size)}
            best: dict[str, dict] = {}
            for turn in range(arguments.turns):
                for who, command in missing.items():
                    if turn and not (best[who]["status"] == "ok" and best[who]["seconds"] < 20):
                        continue
                    found = run_cell(command, arguments.limit, arguments.threads)
                    if not turn or found.get("seconds", math.inf) < best[who]["seconds"]:
                        best[who] = found
            for who, found in best.items():
                table.add({"method": method, "who": who, **size, "task": task, "machine": MACHINE, **found})
            show_peers(method, {who: table.find(method=method, who=who, **size) for who in commands})
    return 0


def figure(line: dict | None) -> str:
    if line is None:
        return "no such method"
    if line["status"] != "ok":
        return line["status"]
    seconds, cpu, accuracy = (float(line[name]) for name in ("seconds", "cpu_seconds", "accuracy"))
    return f"{seconds:.2f} s ({cpu:.2f} cpu) {accuracy:.3f}"


def show_peers(method: str, lines: dict[str, dict]) -> None:
    peers = {who: line for who, line in lines.items() if who != "ours"}
    seconds = [float(line["seconds"]) for line in peers.values() if line["status"] == "ok"]
    verdict = ""
    if lines["ours"]["status"] == "ok" and seconds:
        ratio, bar = min(seconds) / float(lines["ours"]["seconds"]), BARS.get(method, 1.0)
        cpu = min(float(line["cpu_seconds"]) for line in peers.values() if line["status"] == "ok")
        cpu /= float(lines["ours"]["cpu_seconds"])
        verdict = f"x{ratio:.1f}, cpu x{cpu:.1f} (bar {bar:g}: {'met' if ratio >= bar else 'NOT MET'})"
    cells = "  ".join(f"{who} {figure(line):>26s}" for who, line in lines.items())
    print(f"{method:26s} {cells}  {verdict}", flush=True)


# The scale table ---------------------------------------------------------------------------------------------------

SCALE_KEY = ["method", "rows", "columns", "threads"]
SCALE_FIELDS = [*SCALE_KEY, "status", "seconds", "cpu_seconds", "peak_gb", "path", "error_rows", "error", "error_of"]
SCALE_FIELDS += ["approximate_seconds", "exact_seconds", "load", "machine", "device", *IDENTITY]
MOST_SECONDS, MOST_GB = 120, 4


def run_scale(arguments) -> int:
    path = Path(arguments.out or HERE / "results" / "closed_form_scale.csv")
    table = Table(path, SCALE_FIELDS, SCALE_KEY, arguments.fresh)
    device = arguments.device
    if not is_here(device):
        print("no CUDA device is here: not measured")
        return 0
    size = {"rows": arguments.scale_rows, "columns": arguments.scale_columns, "threads": arguments.threads}
    measured_with = {"device": device, **identity(device)}
    for line in table.lines:
        line["device"] = line.get("device") or "cpu"
    # a card's figures are of its own versions; those of a CPU are of one machine, which the page names
    size |= measured_with if device == "cuda" else {"device": device}
    print(f"{arguments.scale_rows:,} rows per domain, {arguments.scale_columns} columns, {arguments.threads} threads")
    for method in arguments.method or scale_parts():
        line = table.find(method=method, **size)
        begin = [sys.executable, __file__]
        sizes = [str(arguments.scale_rows), str(arguments.scale_columns)]
        if line is not None and arguments.again:
            found = run_cell([*begin, "--scale-cell", method, *sizes, device], arguments.limit, arguments.threads)
            table.lines.remove(line)
            table.add(line | found)
            line = table.find(method=method, **size)
        if line is None:
            part = scale_parts()[method]
            found = run_cell([*begin, "--scale-cell", method, *sizes, device], arguments.limit, arguments.threads)
            if part.approximate is None:
                found |= {"error": "exact"}
            elif arguments.error_rows:
                sizes[0] = str(arguments.error_rows)
                error = run_cell(
                    [*begin, "--error-cell", method, *sizes, device], 2 * arguments.limit, arguments.threads
                )
                found |= {"error": error.get("error", error["status"]), "error_of": part.compared}
                found |= {"error_rows": arguments.error_rows, "approximate_seconds": error.get("seconds", "")}
                found |= {"exact_seconds": error.get("exact_seconds", "")}
            else:
                found |= {"error": "not measured"}
            table.add({"method": method, **size, "machine": MACHINE, **measured_with, **found})
            line = table.find(method=method, **size)
        show_scale(line)
    return 0


def show_scale(line: dict) -> None:
    if line["status"] == "ok":
        seconds, peak = float(line["seconds"]), float(line["peak_gb"])
        met = "met" if seconds <= MOST_SECONDS and peak <= MOST_GB else "NOT MET"
        cell = f"{seconds:7.1f} s ({float(line['cpu_seconds']):6.1f} cpu) {peak:5.2f} GB  {met:7s}"
    else:
        cell = f"{line['status']:>41s}"
    error = line["error"]
    error = f"{float(error):.2e} of {line['error_of']}" if error[:1].isdigit() else error
    print(f"{line['method']:32s} {cell} {error:42s} {line['path'][:90]}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peers", action="store_true", help="ours beside skada and adapt")
    parser.add_argument("--scale", action="store_true", help="every method on many rows")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has skada and adapt")
    parser.add_argument("--method", nargs="+", help="these alone")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=800)
    parser.add_argument("--scale-rows", type=int, default=100_000)
    parser.add_argument("--scale-columns", type=int, default=100)
    parser.add_argument("--error-rows", type=int, default=10_000, help="0: errors are not measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=2, help="--peers: subprocesses of each fast cell")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds that a cell may take")
    parser.add_argument("--fresh", action="store_true", help="do not continue the CSV")
    parser.add_argument("--again", action="store_true", help="--scale: time cells anew, keep their errors")
    parser.add_argument("--out", help="CSV file")
    parser.add_argument("--own", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="--scale: where the rows lie")
    parser.add_argument("--scale-cell", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--error-cell", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.own:
        run_own(*arguments.own, repeat_for=2.0)
    elif arguments.scale_cell or arguments.error_cell:
        name, rows, columns, device = arguments.scale_cell or arguments.error_cell
        (run_scale_cell if arguments.scale_cell else run_error_cell)(name, int(rows), int(columns), device)
    elif arguments.peers or arguments.scale:
        return (run_peers(arguments) if arguments.peers else 0) or (run_scale(arguments) if arguments.scale else 0)
    else:
        parser.error("--peers or --scale")
    return 0


if __name__ == "__main__":
    sys.exit(main())
