"""Adam, RMSProp and Nesterov's momentum on an autoencoder of digits, each at its best learning rate, beside their equations.

    python scripts/autoencoder.py
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("autoencoder")
