"""What is left of the order where the mean step jumps or has a kink: losses and rules with corners, exactly.

    python scripts/kinks.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("kinks")
