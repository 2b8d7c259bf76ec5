"""Means of an optimizer and of its modified equations over time, with bands, and histograms at checkpoints.

    python scripts/trajectories.py optimizer=adam tau=1/8
    python scripts/trajectories.py experiment=hard band=quantiles
"""

from sme.cli import command, config


@command.configured("trajectories")
def main(settings: command.Settings) -> None:
    """Compute, save, print."""
    made = config.draw(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
