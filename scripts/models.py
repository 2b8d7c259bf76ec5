"""Every continuous model of RMSProp and Adam on the same problems: weak errors over the step size, and over their cost.

    python scripts/models.py
"""

from sme.cli import command, survey_config


@command.configured("models")
def main(settings: command.Settings) -> None:
    """Compute, save, print."""
    made = survey_config.compare_models(settings)
    print(f"{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
