"""AdaBayes between SGD and Adam: learning rates of its fixed point and of its filter, in seconds.

    python scripts/interpolation.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("interpolation")
