"""Runs with kappa times the batch size and scaled hyperparameters, against the epochs: do their losses fall on one curve?

    python scripts/scaling.py
"""

import hydra
from omegaconf import DictConfig

from sme import command, physical_config


@hydra.main(version_base="1.3", config_path="../conf", config_name="scaling")
def main(settings: DictConfig) -> None:
    """Compute, save, print."""
    made = physical_config.rescale(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
