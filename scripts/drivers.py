"""What the structure of the noise does to an equation's accuracy, and which driver mends it.

    python scripts/drivers.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("drivers")
