"""Two files as a shop has them, old.csv and new.csv, made from `simulated_market`; and fresh.csv, without a label.

Each has dates, money, codes with leading zeros and a category. `paid` is written after a purchase and so gives it away;
the new shop's system fills no `coupon`. Of the new visits only the first have a label.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tl_research.data.catalog.simulated_market import SimulatedMarketConfig, load

ROWS = {"old": 2000, "new": 500, "fresh": 100}
LABELLED = 400
FEATURES = 24


def shop(x: np.ndarray, label: np.ndarray, seed: int) -> pd.DataFrame:
    """Dress simulated visits (n, FEATURES) as the export of a shop."""
    random, n = np.random.default_rng(seed), len(x)
    day = pd.Timestamp("2024-03-01") + pd.to_timedelta(np.round(12 * x[:, 2]), unit="D")
    basket = [f"${value:,.2f}" for value in np.exp(4 + 0.6 * x[:, 1])]
    views = {f"views_{at}": np.round(np.exp(1.5 + 0.5 * x[:, at])).astype(int) for at in range(10, FEATURES)}
    return pd.DataFrame(
        {
            "day": day.strftime("%Y-%m-%d"),
            "basket": basket,
            "clicks": np.round(np.exp(2 + 0.5 * x[:, 0])).astype(int),
            "age": np.where(random.random(n) < 0.1, "", np.round(45 + 10 * x[:, 3]).astype(int)),
            "postcode": [f"{place:05d}" for place in 1000 + 7 * random.integers(0, 40, n)],
            "device": np.array(["phone", "tablet", "desktop"])[np.digitize(x[:, 4], [-0.4, 0.4])],
            **views,
            "paid": np.where(label == 1, basket, ""),
            "bought": np.where(label == 1, "yes", "no"),
        }
    )


def main(folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    config = SimulatedMarketConfig(
        n_source=ROWS["old"], n_target=ROWS["new"] + ROWS["fresh"], measurement_shift=0.1, noise=0.8, features=FEATURES
    )
    domains = load(config, ["old_market", "new_market"])
    old, new = (shop(domains[name].inputs, domains[name].label, seed) for seed, name in enumerate(domains))
    old["coupon"], new["coupon"] = np.where(np.arange(len(old)) % 3 == 0, "spring", ""), ""
    new.loc[LABELLED : ROWS["new"] - 1, "bought"] = ""
    fresh = new.iloc[ROWS["new"] :].drop(columns=["bought", "paid"])
    for name, frame in {"old": old, "new": new.iloc[: ROWS["new"]], "fresh": fresh}.items():
        frame.to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
