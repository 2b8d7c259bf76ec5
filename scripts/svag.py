"""Discrete runs of the SVAG family against the order-1 equation of the batch-equivalent regime, which they tend to.

    python scripts/svag.py torch=rmsprop lr=0.25
"""

from sme.cli import command, physical_config


@command.configured("svag")
def main(settings: command.Settings) -> None:
    """Compute, save, print."""
    made = physical_config.approach(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
