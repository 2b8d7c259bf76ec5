"""The limits of RMSProp and Adam for every size of the noise and every kind of memory, and how they are approached.

    python scripts/atlas.py
"""

import hydra
from omegaconf import DictConfig

from sme import atlas_config, command


@hydra.main(version_base="1.3", config_path="../conf", config_name="atlas")
def main(settings: DictConfig) -> None:
    """Compute, save, print."""
    made = atlas_config.explore(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
