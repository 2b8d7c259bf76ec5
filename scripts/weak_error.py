"""Weak errors of an optimizer's modified equation, and their order in the step size τ.

    python scripts/weak_error.py optimizer=adam order=2
    python scripts/weak_error.py -m optimizer=rmsprop,adam order=1,2 tau=0.25,0.125,0.0625,0.03125
    python scripts/weak_error.py experiment=minibatch plan=true
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("weak_error")
