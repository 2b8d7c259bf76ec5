"""Discrete runs of the SVAG family against the order-1 equation of the batch-equivalent regime, which they tend to.

    python scripts/svag.py optimizer=rmsprop lr=0.25
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("svag")
