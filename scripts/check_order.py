"""The order of every equation by the one-step moment test: no Monte Carlo.

    python scripts/check_order.py
    python scripts/check_order.py 'optimizers=[rmsprop,adam]' results=results
    python scripts/check_order.py table=models results=results      # of every model
    python scripts/check_order.py table=laws results=results     # what no equation matches, law of the noise by law
    python scripts/check_order.py model=mine.paper regime=batch_equivalent   # of one equation, your own: what is off, to quote
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("check_order")
