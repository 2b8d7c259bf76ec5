"""What is known of one configuration of the blind protocol, on disk: whole and with its checksum, or not there."""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from sme.common.errors import SMEError, reason
from sme.common.storage import seal
from sme.common.storage.files import read_table, write_text

FOLDER = "points"


def of(place: Path, what: str, given: dict[str, Any]) -> Path:
    """Its file."""
    return place / FOLDER / f"{what}-{given['number']}.json"


def write(place: Path, what: str, given: dict[str, Any], paths: int, rows: pd.DataFrame) -> None:
    """Keep the rows of a configuration."""
    data = {"what": what, "configuration": given, "paths": paths, "rows": rows.to_dict("records")}
    write_text(of(place, what, given), seal.text(data))


def read(place: Path, what: str, given: dict[str, Any], paths: int) -> pd.DataFrame | None:
    """The rows of this configuration, of so many paths or more; None where there are none, with a warning if they are damaged."""
    path = of(place, what, given)
    if not path.exists():
        return None
    try:
        data, _ = seal.read(path)
        if (data["what"], data["configuration"]) != (what, given):
            raise ValueError("it is of another configuration")
        return pd.DataFrame(data["rows"]) if data["paths"] >= paths else None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        warnings.warn(f"{path} is not what was written ({reason(fault)}), and is computed again", stacklevel=2)
        return None


def table(path: Path) -> dict[int, pd.DataFrame]:
    """The rows of every configuration of a table, by its number: one of before, beside which there are no files of each.

    Raises
    ------
    SMEError
        if it cannot be read.
    """
    if not path.exists():
        return {}
    try:
        return dict(iter(read_table(path).groupby("number")))
    except (OSError, ValueError, KeyError) as fault:
        raise SMEError(f"{path} is no table of the blind protocol ({reason(fault)}): delete it to have it made again") from None
