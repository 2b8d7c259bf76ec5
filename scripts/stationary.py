"""Stationary variances of every rule, predicted and simulated, and the phases of signSGD; some two minutes on two cores.

    python scripts/stationary.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("stationary")
