"""The look of every picture. Matplotlib is imported where something is drawn, seaborn where its other palettes are asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

PAPER = Path(__file__).with_name("paper.mplstyle")
COLORBLIND = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")
"""seaborn's palette of this name, which takes a second to import"""


@contextmanager
def paper() -> Iterator[None]:
    """Sizes and axes as for print, for what is drawn within, whatever the caller's settings are."""
    from matplotlib import rc_context, rcdefaults
    from matplotlib.style import context

    with rc_context():
        rcdefaults()
        with context(PAPER):
            yield


def palette(name: str, count: int | None = None) -> list[tuple[float, float, float]]:
    """So many colours of one of seaborn's palettes; all of them without a number."""
    if name == "colorblind":
        from matplotlib.colors import to_rgb

        return [*map(to_rgb, islice(cycle(COLORBLIND), len(COLORBLIND) if count is None else count))]
    import seaborn as sns

    return list(sns.color_palette(name, count))
