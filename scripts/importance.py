"""Examples drawn by the size of their gradients: how much smaller the noise is, the loss, and the loss that the equations predict.

    python scripts/importance.py
    python scripts/importance.py optimizer=rmsprop tau=1/8 problem.batch_size=2 results=results
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("importance")
