"""Predicted weak errors of random configurations, held against what is measured after; some 40 minutes on two cores, and resumable.

    python scripts/blind.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("blind")
