"""Matrix factorisation by `implicit`, timed: read interactions, fit, write the factors.

    python implicit_models.py als|bpr IN.npz OUT.npz --factors 64 --epochs 10 --threads 2

IN has `start`, `item` of compressed rows and `shape`. The last line printed is JSON: seconds and processor seconds per
epoch, and the library's version. ALS has α = 10 and λ = 1 (its weight of a purchase is 1 + α), BPR its defaults but for
`--rate`.
"""

from __future__ import annotations

import argparse
import json
from time import perf_counter, process_time

import implicit
import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("als", "bpr"))
    parser.add_argument("read")
    parser.add_argument("write")
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate of BPR; 0.01 is the library's")
    given = parser.parse_args()
    found = np.load(given.read)
    ones = np.ones(len(found["item"]), np.float32)
    bought = sp.csr_matrix((ones, found["item"], found["start"]), shape=tuple(found["shape"]))
    common = {"iterations": given.epochs, "num_threads": given.threads, "random_state": 0, "use_gpu": False}
    if given.kind == "als":
        model = AlternatingLeastSquares(factors=given.factors, regularization=1.0, alpha=11.0, **common)
    else:
        model = BayesianPersonalizedRanking(factors=given.factors, learning_rate=given.rate, **common)
    clock, processor = perf_counter(), process_time()
    model.fit(bought, show_progress=False)
    seconds = {"seconds": perf_counter() - clock, "processor": process_time() - processor}
    np.savez(given.write, users=model.user_factors, items=model.item_factors)
    print(
        json.dumps({name: value / given.epochs for name, value in seconds.items()} | {"version": implicit.__version__})
    )


if __name__ == "__main__":
    main()
