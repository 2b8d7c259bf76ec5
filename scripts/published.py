"""What the differences between the published second-order equations and ours cost; some five minutes on two cores.

    python scripts/published.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("published")
