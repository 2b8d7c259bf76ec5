"""A study as a page of a notebook."""

import base64
import html
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from sme.common.errors import SMEError

ROWS = 24
"""of a table"""


def page(text: str, table: pd.DataFrame, draw: Callable[[Path], object] | None) -> str:
    """Text, the first rows of a table, and what `draw` makes of a file's name, if it can."""
    rows = table.head(ROWS).to_html(index=False, float_format="%.3g", border=0)
    more = f"<p>… {len(table)} rows in all</p>" if len(table) > ROWS else ""
    return f"<pre>{html.escape(text)}</pre>{rows}{more}{_picture(draw) if draw else ''}"


def _picture(draw: Callable[[Path], object]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        try:
            draw(path)
        except SMEError:  # nothing to draw
            return ""
        return f'<img src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
