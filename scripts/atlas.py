"""The limits of RMSProp and Adam for every size of the noise and every kind of memory, and how they are approached.

    python scripts/atlas.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("atlas")
