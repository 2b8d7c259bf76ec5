"""Run the notebooks of docs/notebooks/ and keep what they print: python -m tests.docs.notebooks"""

import ast
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def read(path: Path) -> dict[str, Any]:
    """A notebook as it is on disk."""
    return json.loads(path.read_text(encoding="utf-8"))


def ran(notebook: dict[str, Any], change: Callable[[str], str] = str) -> dict[str, Any]:
    """The notebook with the outputs of its cells, run one after the other as `change` has their code."""
    names: dict[str, Any] = {"__name__": "notebook"}
    cells = [{**cell, "outputs": outputs("".join(cell["source"]), names, change)} if cell["cell_type"] == "code" else cell
             for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


def outputs(code: str, names: dict[str, Any], change: Callable[[str], str]) -> list[dict[str, Any]]:
    """What a cell prints, and its last line's value if that is an expression."""
    tree, value = ast.parse(change(code)), None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(StringIO()) as said:
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    made: list[dict[str, Any]] = []
    if said.getvalue():
        made.append({"name": "stdout", "output_type": "stream", "text": said.getvalue().splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_().splitlines(keepends=True)
        made.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    return made


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for path in NOTEBOOKS:
            path.write_text(json.dumps(ran(read(path)), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
