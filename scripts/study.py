"""A study that is there: show it, let it grow, compare two of its equations on common noise.

    python scripts/study.py study=results/adam-ballistic-quadratic-independent-44ed0b05
    python scripts/study.py task=extend study=results/adam-ballistic-quadratic-independent-44ed0b05 tau=1/128 paths=131072
    python scripts/study.py task=compare study=results/adam-ballistic-quadratic-independent-44ed0b05
"""

from sme.cli.main import main

if __name__ == "__main__":
    main("study")
