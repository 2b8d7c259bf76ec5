"""Weak errors of an optimizer's modified equation, and their order in the step size τ.

    python scripts/weak_error.py optimizer=adam order=2
    python scripts/weak_error.py -m optimizer=rmsprop,adam order=1,2 tau=0.25,0.125,0.0625,0.03125
    python scripts/weak_error.py experiment=minibatch plan=true
"""

from sme.cli import command, config
from sme.convergence import collect
from sme.convergence.cost.plan import Plan


@command.configured("weak_error")
def main(settings: command.Settings) -> None:
    """Compute what is missing, save, print; or print what that would cost."""
    made = config.run(settings)
    if isinstance(made, Plan):
        print(made)
        return
    collect.join(settings.results)
    print(f"\n{made}\n\nin {made.folder}")


if __name__ == "__main__":
    command.cli(main)
