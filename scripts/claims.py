"""What papers say of optimizers and their equations, claim by claim, each with its number, criterion and verdict.

    python scripts/claims.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("claims")
