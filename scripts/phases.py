"""Small oscillation, spikes, large oscillation: the loss of full-batch Adam over the rates a of v and b of m.

    python scripts/phases.py
    python scripts/phases.py problem=polynomial 'problem.coefficients=[0,0,0.5]' problem.noise=0 start.theta=1 low=4 steps=12000 looks=100 large=1e-6 floor=0 'examples=[[8,80],[8,8],[40,4]]'
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("phases")
