"""What was measured of one claim, on disk: whole, with its checksum, its settings and its code, or not there."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from sme.common.errors import reason
from sme.common.storage import seal
from sme.common.storage.files import write_text
from sme.common.version import version
from sme.studies.claims.claim import Claim, Found, Number, Panel

FOLDER = "points"


class Result(NamedTuple):
    """What a claim's run leaves behind, with the CPU seconds that it took and the version that made it."""

    claim: str
    settings: dict[str, Any]
    code: str
    found: Found
    seconds: float
    version: str


def path(place: Path, claim: Claim) -> Path:
    """Its file."""
    return place / FOLDER / f"{claim.name}.json"


def write(place: Path, claim: Claim, settings: dict[str, Any], code: str, found: Found, seconds: float) -> Result:
    """Keep it."""
    made = Result(claim.name, settings, code, found, round(seconds, 1), version())
    data = {"claim": claim.name, "settings": settings, "code": code, "seconds": made.seconds, "version": made.version,
            "numbers": [dataclasses.asdict(each) for each in found.numbers],
            "panels": [{**each._asdict(), "lines": dict(each.lines)} for each in found.panels]}
    write_text(path(place, claim), seal.text(data))
    return made


def read(place: Path, claim: Claim, settings: dict[str, Any], code: str) -> Result | None:
    """What is there of these settings and this code; None where there is nothing, with a warning if it is damaged."""
    file = path(place, claim)
    if not file.exists():
        return None
    try:
        data, _ = seal.read(file)
        if (data["settings"], data["code"]) != (settings, code):
            return None
        found = Found([Number(**each) for each in data["numbers"]], [Panel(**each) for each in data["panels"]])
        return Result(data["claim"], settings, code, found, data["seconds"], data["version"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        warnings.warn(f"{file} is not what was written ({reason(fault)}), and is measured again", stacklevel=2)
        return None
