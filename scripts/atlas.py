"""The limits of RMSProp and Adam for every size of the noise and every kind of memory, and how they are approached.

    python scripts/atlas.py
"""

from sme.cli import atlas_config, command


@command.configured("atlas")
def main(settings: command.Settings) -> None:
    """Compute, save, print."""
    made = atlas_config.explore(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
