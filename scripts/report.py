"""One page of HTML to read of all studies of a folder, without network: it sorts, filters and prints.

    python scripts/report.py results=results/published file=results/report.html
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("report")
