"""Write `series.json`: the default jobs' errors as series in τ, for the coverage test.

    python scripts/weak_error.py -m optimizer=rmsprop,adam order=1,2 results=FOLDER
    python tests/support/make_series.py FOLDER
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd


def fit(tau, error, stderr, powers):
    """Weighted least squares of `Σ_k a_k τ^k`."""
    design = tau[:, None] ** np.array(powers) / stderr[:, None]
    return [float(f"{a:.4g}") for a in np.linalg.lstsq(design, error / stderr, rcond=None)[0]]


if __name__ == "__main__":
    series = {}
    for path in sorted(Path(sys.argv[1]).glob("*/errors.csv")):
        rows = []
        for name, table in pd.read_csv(path).groupby("observable", sort=False):
            row = {"observable": name, "stderr": {}}
            for order, powers in ((1, (1, 2, 3)), (2, (2, 3, 4))):
                part = table[table["order"] == order].sort_values("tau", ascending=False)
                tau, error, stderr = (part[column].to_numpy() for column in ("tau", "error", "stderr"))
                row[f"order{order}"] = fit(tau, error, stderr, powers)
                row["stderr"][str(order)] = stderr.tolist()
            rows.append(row)
        series[path.parent.name.rsplit("-", 1)[0]] = rows
    place = Path(__file__).parents[1] / "convergence" / "series.json"
    place.write_text(json.dumps(series, indent=1, ensure_ascii=False) + "\n")
