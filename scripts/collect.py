"""Rebuild every table from the points on disk.

    python scripts/collect.py results=results
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("collect")
