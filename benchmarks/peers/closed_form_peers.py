"""One closed-form or instance method of `skada` or `adapt`, fitted and applied; prints one line of JSON.

    python benchmarks/peers/closed_form_peers.py PEER METHOD TASK.npz [--repeat-for 2]

It imports nothing of this project, so that it runs where the peers are installed. The file has x, y (source), u, v
(target) and warm_* of the same; `v` is used for the accuracy alone. Timed are the fit and the prediction of all
target rows, after one run on the small warm-up rows; imports are not.

Where the peers' objectives have a parameter that ours have, it is set to the same value: see `SETTINGS` and the
comments beside each method.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from time import perf_counter, process_time

import numpy as np

#: What both sides are given. `gamma` of every Gaussian kernel is 1 / columns (sigma² = columns / 2).
SETTINGS = {
    "components": 30,
    "mu": 1.0,  # TCA: both peers put it on the MMD; ours is its inverse on the norm of the weights
    "ridge": 1.0,  # CORAL, linear Monge: added to the covariances
    "regularization": 0.1,  # optimal transport: of the entropy, in medians of the cost
    "class_weight": 0.1,
    "tolerance": 1e-6,  # optimal transport: Σ|row sum - a| of ours
    "bound": 1000.0,  # KMM
    "centres": 100,
    "lambda": 0.1,  # uLSIF, RuLSIF
    "alpha": 0.1,
    "rounds": 10,  # JDA, TJM
    "max_iter": 1000,  # the logistic head
    "head_tolerance": 1e-4,  # scikit-learn's default
    "C": 1.0,
}


def head():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=SETTINGS["C"], max_iter=SETTINGS["max_iter"], tol=SETTINGS["head_tolerance"])


def scikit_learn(method: str, rows: int, columns: int):
    return {"source_only": head}[method]()


def skada(method: str, rows: int, columns: int):
    import skada

    s, gamma = SETTINGS, 1 / columns
    estimator = head()
    if method in ("kmm", "kliep", "nearest_neighbour_weight", "density_ratio"):
        estimator = estimator.set_fit_request(sample_weight=True)
    # POT stops on the 2-norm of the marginals' error, which is at least the 1-norm over the root of the rows
    tolerance = s["tolerance"] / math.sqrt(rows)
    builders = {
        # without its own shrinkage ("auto") it fails: the covariances are near singular
        "coral": lambda: skada.CORAL(estimator, reg="auto"),
        "subspace_alignment": lambda: skada.SubspaceAlignment(estimator, n_components=s["components"]),
        "linear_monge": lambda: skada.LinearOTMapping(estimator, reg=s["ridge"]),
        # its kernel takes no gamma: scikit-learn's default, 1 / columns
        "tca": lambda: skada.TransferComponentAnalysis(estimator, n_components=s["components"], mu=s["mu"]),
        "tjm": lambda: skada.TransferJointMatching(
            estimator, n_components=s["components"], tradeoff=1.0, max_iter=s["rounds"]
        ),
        "ot_entropic": lambda: skada.EntropicOTMapping(
            estimator, norm="median", reg_e=s["regularization"], tol=tolerance, max_iter=1000
        ),
        "ot_exact": lambda: skada.OTMapping(estimator),
        # it has no unit of the cost: 2 * columns is about the median of standardised rows
        "ot_class_regularized": lambda: skada.ClassRegularizerOTMapping(
            estimator,
            reg_e=s["regularization"] * 2 * columns,
            reg_cl=s["class_weight"] * 2 * columns,
            max_iter=10,
        ),
        "kmm": lambda: skada.KMMReweight(estimator, gamma=gamma, B=s["bound"]),
        "kliep": lambda: skada.KLIEPReweight(estimator, gamma=gamma, n_centers=s["centres"], random_state=0),
        "nearest_neighbour_weight": lambda: skada.NearestNeighborReweight(estimator, n_neighbors=1),
        "density_ratio": lambda: skada.DiscriminatorReweight(estimator, domain_classifier=head()),
    }
    return builders[method]()


def adapt(method: str, rows: int, columns: int):
    from adapt import feature_based, instance_based

    s, gamma = SETTINGS, 1 / columns
    common = {"estimator": head(), "verbose": 0, "random_state": 0}
    builders = {
        "coral": lambda: feature_based.CORAL(lambda_=s["ridge"], **common),
        "subspace_alignment": lambda: feature_based.SA(n_components=s["components"], **common),
        "tca": lambda: feature_based.TCA(n_components=s["components"], mu=s["mu"], gamma=gamma, **common),
        # its default splits the source into parts of 1,000 rows: another, smaller problem
        "kmm": lambda: instance_based.KMM(gamma=gamma, B=s["bound"], max_size=rows, **common),
        "kliep": lambda: instance_based.KLIEP(gamma=gamma, max_centers=s["centres"], **common),
        "ulsif": lambda: instance_based.ULSIF(gamma=gamma, lambdas=s["lambda"], max_centers=s["centres"], **common),
        "rulsif": lambda: instance_based.RULSIF(
            gamma=gamma, alpha=s["alpha"], lambdas=s["lambda"], max_centers=s["centres"], **common
        ),
        "nearest_neighbour_weight": lambda: instance_based.NearestNeighborsWeighting(n_neighbors=1, **common),
        "density_ratio": lambda: instance_based.IWC(classifier=head(), **common),
    }
    return builders[method]()


PEERS = {"scikit-learn": scikit_learn, "skada": skada, "adapt": adapt}
BOTH = ["coral", "subspace_alignment", "tca", "kmm", "kliep", "nearest_neighbour_weight", "density_ratio"]
METHODS = {
    "scikit-learn": ["source_only"],
    "skada": [*BOTH, "linear_monge", "tjm", "ot_entropic", "ot_exact", "ot_class_regularized"],
    "adapt": [*BOTH, "ulsif", "rulsif"],
}


def predictions(peer: str, method: str, x: np.ndarray, y: np.ndarray, u: np.ndarray) -> np.ndarray:
    model = PEERS[peer](method, *x.shape)
    if peer == "scikit-learn":
        return model.fit(x, y).predict(u)
    if peer == "adapt":
        return model.fit(x, y, Xt=u).predict(u)
    rows, domain = np.concatenate([x, u]), np.concatenate([np.ones(len(x)), -2 * np.ones(len(u))]).astype(int)
    hidden = np.concatenate([y, np.full(len(u), -1)])
    return model.fit(rows, hidden, sample_domain=domain).predict(u)


def timed(call, repeat_for: float) -> tuple[float, float, np.ndarray]:
    """Least seconds and processor seconds of the calls that fit into `repeat_for` seconds (one at least), result."""
    best, least, begun = math.inf, math.inf, perf_counter()
    while True:
        start, used = perf_counter(), process_time()
        result = call()
        best, least = min(best, perf_counter() - start), min(least, process_time() - used)
        if perf_counter() - begun + best > repeat_for:
            return best, least, result


def report(fit_and_predict, task: dict[str, np.ndarray], repeat_for: float) -> None:
    fit_and_predict(task["warm_x"], task["warm_y"], task["warm_u"])
    seconds, cpu, found = timed(lambda: fit_and_predict(task["x"], task["y"], task["u"]), repeat_for)
    accuracy = float((np.asarray(found) == task["v"]).mean())
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "accuracy": accuracy}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("method")
    parser.add_argument("task")
    parser.add_argument("--repeat-for", type=float, default=2.0, help="seconds in which a fast method is run again")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    task = dict(np.load(arguments.task))
    try:
        PEERS[arguments.peer](arguments.method, *task["x"].shape)
    except ModuleNotFoundError as error:
        print(json.dumps({"status": "not installed", "note": str(error)}))
        return 0
    report(lambda x, y, u: predictions(arguments.peer, arguments.method, x, y, u), task, arguments.repeat_for)
    return 0


if __name__ == "__main__":
    sys.exit(main())
