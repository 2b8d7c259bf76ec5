"""Optimizers without noise beside their equations with memory; some three minutes on two cores, the second some four.

    python scripts/ide.py                    # AdaGrad, RMSProp, Adam on three losses: results/ide/runs.md and pictures
    python scripts/ide.py table=lagrangian   # published errors of first and second order in time: results/ide/lagrangian.md
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("ide")
