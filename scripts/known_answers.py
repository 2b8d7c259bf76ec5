"""Weak errors of a few small cases with their uncertainty, to test other programs by; some six minutes on two cores.

    python scripts/known_answers.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("known_answers")
