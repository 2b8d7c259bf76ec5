"""Runs with kappa times the batch size and scaled hyperparameters, against the epochs: do their losses fall on one curve?

    python scripts/scaling.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("scaling")
