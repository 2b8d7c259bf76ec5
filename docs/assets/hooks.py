"""What the site needs beside MkDocs: the record of results/published, and notebooks as pages."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
RECORD = re.compile(r"\]\((?:\.\./)+results/published/([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """With the tables and pictures of `results/published/` that a page shows, at `published/`, and a page for each notebook."""
    sources = [Path(each.abs_src_path) for each in files if each.src_uri.endswith(".md")]
    shown = {name for path in sources for name in RECORD.findall(path.read_text(encoding="utf-8"))}
    for name in sorted(shown):
        path = ROOT / "results" / "published" / name
        if path.suffix == ".md":
            text = path.read_text(encoding="utf-8")
            title = "" if text.lstrip().startswith("# ") else f"# {name.removesuffix('.md')}\n\n"
            files.append(File.generated(config, f"published/{name}", content=title + text))
        else:
            files.append(File.generated(config, f"published/{name}", abs_src_path=str(path)))
    for path in sorted((Path(config["docs_dir"]) / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """With links into the record, and to notebooks, turned to where these are in the site."""
    up = "../" * page.file.src_uri.count("/")
    return re.sub(r"(notebooks/\w+)\.ipynb\)", r"\1.md)", RECORD.sub(rf"]({up}published/\1", markdown))


def page(path: Path) -> str:
    """A notebook as a page: its text, its code, and what it printed."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                shown = "".join(data["text/html"]).replace("<pre>", '<pre class="said">').replace(' class="dataframe"', "")
                parts.append(f"<div>{shown}</div>")
            else:
                said = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"```text\n{said.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"
