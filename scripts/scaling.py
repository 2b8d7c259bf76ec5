"""Runs with kappa times the batch size and scaled hyperparameters, against the epochs: do their losses fall on one curve?

    python scripts/scaling.py
"""

from sme.cli import command, physical_config


@command.configured("scaling")
def main(settings: command.Settings) -> None:
    """Compute, save, print."""
    made = physical_config.rescale(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
