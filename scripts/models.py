"""Every continuous model of RMSProp and Adam on the same problems: weak errors over the step size, and over their cost.

    python scripts/models.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("models")
