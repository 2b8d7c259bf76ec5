"""Means of an optimizer and of its modified equations over time, with bands, and histograms at checkpoints.

    python scripts/trajectories.py optimizer=adam tau=1/8
    python scripts/trajectories.py experiment=hard band=quantiles
"""

import hydra
from omegaconf import DictConfig

from sme import command, config


@hydra.main(version_base="1.3", config_path="../conf", config_name="trajectories")
def main(settings: DictConfig) -> None:
    """Compute, save, print."""
    made = config.draw(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
