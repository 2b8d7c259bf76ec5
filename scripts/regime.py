"""Which regime an optimizer is in, from its hyperparameters as torch.optim names them and the noise of a problem.

    python scripts/regime.py lr=1e-3 beta1=0.9 beta2=0.999 batch=256
    python scripts/regime.py optimizer=rmsprop lr=0.01 batch=8 problem.examples=null
    python scripts/regime.py lr=2e-3 beta1=0.98 beta2=0.996 eps=1e-6 problem=digits batch=1 steps=3072 compared=100
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("regime")
