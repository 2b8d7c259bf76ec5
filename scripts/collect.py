"""Rebuild every table from the points on disk.

    python scripts/collect.py results/
"""

import argparse
import sys
from pathlib import Path

from sme import SMEError, collect
from sme.errors import plain_warnings

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the folder that holds the studies")
    try:
        with plain_warnings():
            table = collect.rebuild(parser.parse_args().results)
    except SMEError as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(2)
    print(table.to_string(index=False))
