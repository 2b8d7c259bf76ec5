"""Put the tables and pictures of results/published/ into README and docs: python -m tests.docs.fill_readme

Each `<!-- name -->` marks a place; what is printed there is copied from a committed `slopes.md` or `slopes.csv`. At
`<!-- table 1 of importance.md -->` it is the first table of that file; from `<!-- sections of claims/claims.md -->` to
`<!-- end -->` stand its sections, a level lower.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sme.common.output.text import quote
from sme.studies.trajectories.closer import last

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECORD = "results/published"
POLYNOMIAL = "rmsprop-batch_equivalent-polynomial"
PLACES = {
    "adam": ("adam-ballistic-quadratic-independent-44ed0b05", "2"),
    "picture adam": ("adam-ballistic-quadratic-independent-44ed0b05", None),
    "obstruction": (f"{POLYNOMIAL}-independent-421ff9be", ""),
    "picture obstruction": (f"{POLYNOMIAL}-independent-421ff9be", None),
    "hard": (f"{POLYNOMIAL}-independent-da262667", "2"),
    "memory": (f"{POLYNOMIAL}-step_memory", "2"),
    "fast memory": (f"{POLYNOMIAL}-fast_memory", "2"),
    "minibatch rmsprop": ("rmsprop-ballistic-logistic", "2"),
    "minibatch adam": ("adam-ballistic-logistic", "2"),
    "picture minibatch": ("rmsprop-ballistic-logistic", None),
}
RULES = ("momentum", "nesterov", "adagrad", "rmspropw", "adamw", "adabayes", "adabayes_filter", "signsgd", "signum",
         "rmsprop_inside", "adam_average")
DIGITS = {"rmsprop": "f6436e39", "adam": "673e8b93"}
RESHUFFLED = "adam-ballistic-digits-independent-555f418d"
TODAY = {
    "mlp": ("mnist", {"rmsprop": "b8ea7675", "adam": "bc352231"}),
    "cnn": ("mnist", {"rmsprop": "8ac1ba38"}),
    "resnet": ("mnist", {"rmsprop": "6945994e"}),
    "autoencoder": ("mnist", {"rmsprop": "c69096a6", "adam": "3b88a18b"}),
    "transformer": ("text", {"adam": "b7d6b8a0"}),
}
"""of each network the problem and its folders"""
MODELS = ("ode", "malladi", "compagnoni", "sme")
FOLLOWED = ("loss", "accuracy", "test loss")
SHOWN = ("|theta|^2", "mean theta", "loss")
PLACE = re.compile(r"<!-- (picture .+?) -->\n(?:\n!\[.*\n)?|<!-- sections of (.+?) -->\n(?:\n(?s:.*?)<!-- end -->\n)?"
                   r"|<!-- (.+?) -->\n(?:\n\|.*(?:\n\|.*)*\n)?")


def folder(prefix: str, root: Path) -> Path:
    (found,) = (root / RECORD).glob(f"{prefix}*")
    return found


def block(prefix: str, order: str | None, root: Path) -> str:
    """The slope table's rows of that order (all if empty), or the picture."""
    place = folder(prefix, root)
    if order is None:
        name = "-".join(prefix.split("-")[:3])
        return f"![weak errors over the step size, {name}]({RECORD}/{place.name}/errors.png)"
    lines = (place / "slopes.md").read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if "slope [95 %]" in line)
    table = lines[first : lines.index("", first)]
    return "\n".join(table[:2] + [line for line in table[2:] if line.startswith(f"| {order}")])


def rules(root: Path) -> str:
    """One row for each rule and order: three slopes, and the verdicts of all observables."""
    rows = ["| optimizer | order | " + " | ".join(f"slope, {name}".replace("|", "\\|") for name in SHOWN) + " | verdicts |",
            "|---|---|" + "---|" * (len(SHOWN) + 1)]
    for rule in RULES:
        table = pd.read_csv(folder(f"{rule}-ballistic-quadratic", root) / "slopes.csv")
        for order, group in table.groupby("order"):
            named = group.set_index("observable")
            slopes = [quote(*named.loc[name, ["slope", "slope_low", "slope_high"]].astype(float)) for name in SHOWN]
            verdicts = ", ".join(f"{count} {word}" for word, count in group["verdict"].value_counts().items())
            rows.append(f"| {rule} | {order} | {' | '.join(slopes)} | {verdicts} |")
    return "\n".join(rows)


def digits(root: Path) -> str:
    """How many times closer order 2 is than order 1, for both optimizers and step sizes, at the end."""
    folders = [(optimizer, f"{optimizer}-ballistic-digits-independent-{name}-tau{tau:g}") for optimizer, name in DIGITS.items()
               for tau in (0.125, 0.0625)]
    return followed(folders, ("optimizer",), FOLLOWED, root)


def networks(root: Path) -> str:
    """The same for the networks of today."""
    folders = [(f"{network} | {optimizer}", f"{optimizer}-ballistic-{problem}-independent-{name}")
               for network, (problem, names) in TODAY.items() for optimizer, name in names.items()]
    return followed(folders, ("network", "optimizer"), ("loss", "test loss", "|theta|^2"), root)


def followed(folders: Sequence[tuple[str, str]], of: Sequence[str], observables: Sequence[str], root: Path) -> str:
    """A row for each trajectory and observable: how close both orders are at the end."""
    titles = (*of, "τ", "observable", "discrete − order 1", "discrete − order 2", "order 2 is closer by")
    rows = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for said, name in folders:
        closer = pd.read_csv(folder(f"trajectories/{name}", root) / "closer.csv")
        end = last(closer).set_index("observable")
        named = {each: each.replace("|", "\\|") for each in observables}
        rows += [f"| {said} | {closer['tau'].iloc[0]:g} | {name} | {' | '.join(end.loc[each])} |" for each, name in named.items()]
    return "\n".join(rows)


def epochs(root: Path) -> str:
    """What knowing the epochs of a reshuffled run brings, beside order 1 and independent steps, at the end."""
    titles = ("τ", "observable", "discrete − order 1", "discrete − order 2, independent steps", "discrete − order 2",
              "order 2 is closer than order 1 by", "than independent steps by")
    rows = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    there = (root / RECORD / "trajectories").glob(f"{RESHUFFLED}-tau*")
    found = {float(place.name.rpartition("tau")[2]): place for place in there}
    for tau, place in sorted(found.items(), reverse=True):
        orders, steps = (last(pd.read_csv(place / f"{name}.csv")).set_index("observable") for name in ("closer", "epochs"))
        for name in FOLLOWED:
            (one, two, closer), (other, _, than) = orders.loc[name], steps.loc[name]
            rows.append(f"| {tau:g} | {name} | {one} | {other} | {two} | {closer} | {than} |")
    return "\n".join(rows)


def models(root: Path) -> str:
    """The error of each model in the loss at the finest step size, a row for each problem, regime and optimizer."""
    table = pd.read_csv(root / RECORD / "models" / "models.csv")
    table = table[table["model"].isin(MODELS) & ~table["regime"].str.contains("fixed")]
    table = table[table["tau"] == table.groupby("problem")["tau"].transform("min")]
    orders = zip(table["model"], table["order"], strict=True)
    cells = zip(table["error"], table["stderr"], strict=True)
    shown = table.assign(name=[f"{model}, order {order}" if model == "sme" else model for model, order in orders],
                         cell=[f"{error:.1e} ± {stderr:.0e}" for error, stderr in cells])
    setting = ["problem", "regime", "optimizer", "tau"]
    wide = shown.pivot_table(index=setting, columns="name", values="cell", aggfunc="first", sort=False)
    rows = ["| problem | regime | optimizer | τ | " + " | ".join(wide.columns) + " |", "|" + "---|" * (4 + len(wide.columns))]
    rows += [f"| {problem} | {regime.replace('_', '-')} | {optimizer} | 1/{round(1 / tau)} | {' | '.join(cells)} |"
             for (problem, regime, optimizer, tau), cells in zip(wide.index, wide.to_numpy(), strict=True)]
    return "\n".join(rows)


def table(number: int, name: str, root: Path) -> str:
    """The table of that number in a file of the record."""
    text = (root / RECORD / name).read_text(encoding="utf-8")
    return re.findall(r"(?m)^\|.*(?:\n\|.*)*", text)[number - 1]


def sections(name: str, root: Path) -> str:
    """The sections of a file of the record, a level lower; its links to files beside it lead there."""
    text = (root / RECORD / name).read_text(encoding="utf-8")
    found = text[text.index("\n## ") : text.rindex("\n\n")].strip().replace("## ", "### ")
    return re.sub(r"\]\((?=[\w.-]+\))", f"]({RECORD}/{Path(name).parent.as_posix()}/", found)


def blocks(root: Path = ROOT) -> dict[str, str]:
    """What stands at each place that has a name."""
    named = {name: block(*what, root) for name, what in PLACES.items()}
    own = {"rules": rules, "digits": digits, "epochs": epochs, "networks": networks, "models": models}
    return named | {name: made(root) for name, made in own.items()}


def filled(text: str, named: dict[str, str], up: str = "", root: Path = ROOT) -> str:
    """A page with every place filled from `results/published/` in `root`; `up` leads from its folder to the top one."""
    def put(match: re.Match[str]) -> str:
        name = match[1] or match[3] or f"sections of {match[2]}"
        asked = re.fullmatch(r"table (\d+) of (\S+)", name)
        if not asked and not match[2] and name not in named:
            return match[0]
        content = table(int(asked[1]), asked[2], root) if asked else sections(match[2], root) if match[2] else named[name]
        end = "\n<!-- end -->\n" if match[2] else ""
        return f"<!-- {name} -->\n\n{content.replace(f']({RECORD}/', f']({up}{RECORD}/')}\n{end}"

    return re.sub(PLACE, put, text)


def up(page: Path) -> str:
    """From a page's folder to the top one."""
    return "../" * (len(page.relative_to(ROOT).parts) - 1)


if __name__ == "__main__":
    made = blocks()
    for path in PAGES:
        before = path.read_text(encoding="utf-8")
        if (after := filled(before, made, up(path))) != before:
            path.write_text(after, encoding="utf-8")
