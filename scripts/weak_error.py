"""Weak errors of an optimizer's modified equation, and their order in the step size τ.

    python scripts/weak_error.py optimizer=adam order=2
    python scripts/weak_error.py -m optimizer=rmsprop,adam order=1,2 tau=0.25,0.125,0.0625,0.03125
"""

import hydra
from omegaconf import DictConfig

from sme import collect, config


@hydra.main(version_base="1.3", config_path="../conf", config_name="weak_error")
def main(settings: DictConfig) -> None:
    """Compute what is missing, save, print."""
    study = config.run(settings)
    collect.join(settings.results)
    print(f"\n{study}\n\nin {study.folder}")


if __name__ == "__main__":
    config.cli(main)
