"""The look of every picture. Seaborn and matplotlib are imported where something is drawn: they take a second of every start."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paper(axes: str = "ticks") -> Iterator[None]:
    """Sizes and axes (one of seaborn's styles) as for print, for what is drawn within, whatever the caller's settings are."""
    import seaborn as sns
    from matplotlib import rc_context, rcdefaults

    with rc_context():
        rcdefaults()
        with sns.axes_style(axes), sns.plotting_context("paper"):
            yield


def palette(name: str, count: int | None = None) -> list[tuple[float, float, float]]:
    """So many colours of one of seaborn's palettes; all of them without a number."""
    import seaborn as sns

    return list(sns.color_palette(name, count))
