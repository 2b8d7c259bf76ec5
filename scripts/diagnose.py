"""What a training run is like: its noise, an ODE, the batch, stability, in one paragraph and in tables.

    python scripts/diagnose.py problem=digits torch=AdamW lr=3e-3 batch=32 steps=1000
    python scripts/diagnose.py module=mine.net data=mine.data lr=1e-3 batch=16 steps=500
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("diagnose")
