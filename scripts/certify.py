"""The weak error of every equation at one step size, predicted without paths, and the cheapest equation that is good enough.

    python scripts/certify.py optimizer=adam tau=1/8 tolerance=0.01
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("certify")
