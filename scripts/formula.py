"""The modified equation of an update rule in the rule's own letters, as text and as LaTeX; no problem, no run.

    python scripts/formula.py optimizer=adam
    python scripts/formula.py optimizer=rmsprop regime=batch_equivalent elementwise=true
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("formula")
