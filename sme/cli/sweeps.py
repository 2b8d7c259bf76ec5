"""One table at the end of a multirun, whatever launcher ran its jobs."""

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sme.common.output.text import grid
from sme.common.storage.files import read_table

NAME = "SME_MULTIRUN"
"""what the multirun is called, in the environment of its jobs"""
SHOWN = ["optimizer", "regime", "problem", "order", "observable", "at", "slope", "slope_low", "slope_high", "verdict"]


class Joined(Callback):
    """Collects what the jobs note of their studies, and prints the slopes of them all."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Name the multirun."""
        os.environ[NAME] = uuid.uuid4().hex[:12]

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table, and leave nothing of the notes, nor a name that a later run would take for its own."""
        notes = Path(str(OmegaConf.select(config, "hydra.sweep.dir"))) / os.environ.pop(NAME)
        noted = sorted(notes.glob("*"))
        folders = [Path(each.read_text(encoding="utf-8")) for each in noted]
        if noted:
            shutil.rmtree(notes)
        joined = sorted({folder.parent / "slopes.csv" for folder in folders})
        tables = [read_table(path) for path in joined if path.is_file()]
        table = pd.concat(tables) if tables else pd.DataFrame(columns=["study"])
        table = table[table["study"].isin([folder.name for folder in folders])]
        if not table.empty:
            print(f"\n{shown(table)}")


def note(folder: Path) -> None:
    """Have the study in this folder stand in the table at the end of its multirun."""
    if NAME not in os.environ or not HydraConfig.initialized():
        return
    notes = Path(HydraConfig.get().sweep.dir) / os.environ[NAME]
    notes.mkdir(parents=True, exist_ok=True)
    (notes / folder.name).write_text(str(folder.resolve()), encoding="utf-8")


def shown(table: pd.DataFrame) -> str:
    """The slopes as text."""
    numbers = {name: ["–" if pd.isna(each) else f"{each:.3f}" for each in table[name]] for name in SHOWN[6:9]}
    words = table.assign(**numbers)[SHOWN].astype(object)
    return grid(words.where(words.notna(), "").astype(str), "simple")
