"""The look of the pictures is seaborn's, which no picture imports for it."""

import subprocess
import sys

import matplotlib
import pytest
import seaborn as sns

from sme.common.output import style


def _settings() -> dict[str, object]:
    return {name: value for name, value in matplotlib.rcParams.items() if name != "image.cmap"}  # no picture has one


def test_the_style_is_seaborns_ticks_for_paper() -> None:
    with style.paper():
        own = _settings()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        with sns.axes_style("ticks"), sns.plotting_context("paper"):
            assert _settings() == own
        assert _settings() != own


def test_the_callers_settings_come_back() -> None:
    with matplotlib.rc_context({"font.size": 17.0}):
        with style.paper():
            assert matplotlib.rcParams["font.size"] < 10
        assert matplotlib.rcParams["font.size"] == 17.0


@pytest.mark.parametrize("count", [None, 2, 13])
def test_the_palette_is_seaborns(count: int | None) -> None:
    assert style.palette("colorblind", count) == list(sns.color_palette("colorblind", count))


def test_a_study_draws_without_seaborn() -> None:
    code = ("import sys\nfrom sme.common.output import style\nimport sme.convergence.output.picture\n"
            "style.palette('colorblind', 2)\nwith style.paper():\n    pass\nassert 'matplotlib' in sys.modules\n"
            "assert not {'seaborn', 'scipy.stats'} & set(sys.modules)")
    subprocess.run([sys.executable, "-c", code], check=True)
