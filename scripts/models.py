"""Every continuous model of RMSProp and Adam on the same problems: weak errors over the step size, and over their cost.

    python scripts/models.py
"""

import hydra
from omegaconf import DictConfig

from sme import command, survey_config


@hydra.main(version_base="1.3", config_path="../conf", config_name="models")
def main(settings: DictConfig) -> None:
    """Compute, save, print."""
    made = survey_config.compare_models(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
