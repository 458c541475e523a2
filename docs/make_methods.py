"""Makes `methods.md` from the code: every name, the first line of its docstring, and the papers named beside it.

    python docs/make_methods.py

A test compares the page with what this makes, so that neither can change alone.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bitproof import ptq
from bitproof.attacks import ATTACKS
from bitproof.conditions import SUITES
from bitproof.data import DATA
from bitproof.metrics import METRICS
from bitproof.models import MODELS
from bitproof.quant import METHODS, split_outliers
from bitproof.quant.range_rules import ACT_RANGES, WEIGHT_RANGES
from bitproof.shifts import CORRUPTIONS, RELEASED, SEQUENCES, SYSTEMATIC
from bitproof.train import OBJECTIVES, PENALTIES, RECIPES

PAGE = Path(__file__).with_name("methods.md")
SOURCES = Path(__file__).parents[1] / "src" / "bitproof"

_AUTHOR = r"[A-Z][a-z]+(?:-[A-Z][a-z]+)?"
_NUMBER = r"(?:,? \(?(?:arXiv[: ]|https://arxiv\.org/abs/)?(?P<arxiv>\d{4}\.\d{4,5}))?"
_PAPER = re.compile(rf"(?<!\w)(?P<paper>{_AUTHOR}(?:, {_AUTHOR})*(?: & {_AUTHOR}| et al\.)? (?:19|20)\d\d){_NUMBER}")
_ONLY_NUMBER = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")

HEAD = """# All methods and their papers

Made from the code by `python docs/make_methods.py`: the name on the command line, the first line of the docstring, and
the papers named there or at the head of its file, which say more: which equations, and what is done otherwise.
"""

STEPS = ("correct_bias", "equalize", "fold_batch_norm", "reestimate_batch_norm", "Reconstruction")
"""The steps of post-training quantization, by their names in `bitproof.ptq`."""


def page() -> str:
    """The whole page."""
    builds = {name: spec.build for name, spec in MODELS.items()}
    ranges = {f"weight_range={name}": rule for name, rule in WEIGHT_RANGES.items()}
    ranges |= {f"act_range={name}": rule for name, rule in ACT_RANGES.items()}
    steps = {f"bp.ptq.{name}": getattr(ptq, name) for name in STEPS}
    steps["bp.quant.split_outliers"] = split_outliers
    sections = [
        section("Attacks", "`--condition NAME:field=value,...`", ATTACKS),
        section("Corruptions", "`--condition NAME:field=value,...`", CORRUPTIONS),
        section("Sequences", "`--condition NAME:field=value,...`", SEQUENCES),
        section("Systematic shifts", "`--condition NAME:field=value,...`", SYSTEMATIC),
        section("Released benchmarks", "`--condition NAME:field=value,...`", RELEASED),
        section("Suites", "`--suite NAME`", SUITES),
        section("Quantization methods", "`--scheme NAME:wXaY,field=value,...`", METHODS),
        section(
            "Range rules",
            "`--scheme w4a4,act_range=omse`",
            ranges,
        ),
        section("Post-training steps", "`--ptq` and `bp.ptq.PostTraining` put those of `bp.ptq` together.", steps),
        section("Recipes", "`bitproof train NAME:field=value,...`", RECIPES),
        section("Objectives", "`bitproof train standard:objective=NAME`", OBJECTIVES),
        section("Penalties", "Parts of `bp.train.Recipe`.", PENALTIES),
        metrics(),
        section("Data sets", "`--data NAME:ROOT`", DATA),
        section("Networks", "`bitproof evaluate NAME`", builds),
    ]
    return "\n".join([HEAD, *sections])


def section(title: str, where: str, table: Mapping[str, Callable[..., Any]]) -> str:
    """A family as a table; neighbours that share their text share a row."""
    known = arxiv_numbers()
    rows: dict[tuple[str, str], list[str]] = {}
    for name, entry in table.items():
        made = entry
        while hasattr(made, "func"):  # what a partial wraps
            made = made.func
        rows.setdefault((first_line(made), linked(papers(name, made), known)), []).append(f"`{name}`")
    lines = [f"| {', '.join(names)} | {text} | {source} |" for (text, source), names in rows.items()]
    return "\n".join([f"## {title}\n\n{where}\n\n| name | what it is | paper |\n|---|---|---|", *lines, ""])


def metrics() -> str:
    """The metrics, which say themselves what they are and where they come from."""
    known = arxiv_numbers()
    lines = []
    for name, metric in METRICS.items():
        better = "higher is better" if metric.higher_is_better else "lower is better"
        source = _PAPER.sub(lambda found: linked([cited(found)], known), metric.source)
        lines.append(f"| `{name}` | {metric.symbol}: {metric.description}; {better} | {source} |")
    title = "## Metrics\n\n`Result.summary()` has all that the results allow."
    head = "\n| name | what it is | where it is defined |\n|---|---|---|"
    return "\n".join([title, head, *lines, ""])


def papers(name: str, made: Any) -> list[tuple[str, str | None]]:
    """The papers of a method as (authors and year, arXiv number), from the nearest text that names any.

    In this order: the module's sentence that names the method right before the paper, the first paragraph of the
    method's docstring, the module's "Source:" and its first paragraph, the rest of both, the package's first paragraph.
    """
    module = sys.modules[made.__module__]
    own, around = flat(made.__doc__), flat(module.__doc__)
    package = flat(sys.modules[made.__module__.rpartition(".")[0]].__doc__)
    named = re.search(rf"(?<![\w+-])(?i:{re.escape(name)}),? \(?{_PAPER.pattern}", around)
    if named:
        return [cited(named)]
    source = re.search(r"\bSources?: (.+?)(?:(?<!al)\.(?= [A-Z]|\n|$))", around)
    texts = (paragraph(own), source[1] if source else "", paragraph(around), own, around, paragraph(package))
    for text in texts:
        if found := [cited(match) for match in _PAPER.finditer(text)]:
            return list(dict.fromkeys(found))
    numbers = _ONLY_NUMBER.findall(around)
    return [(f"arXiv {numbers[0]}", numbers[0])] if numbers else []


def cited(found: re.Match[str]) -> tuple[str, str | None]:
    return found["paper"], found["arxiv"]


def arxiv_numbers() -> dict[str, str]:
    """The arXiv number of each paper that has one and the same wherever the sources give one."""
    numbers: dict[str, set[str]] = {}
    for paper, number in everywhere():
        numbers.setdefault(paper, set()).add(number)
    return {paper: min(found) for paper, found in numbers.items() if len(found) == 1}


def everywhere() -> Iterator[tuple[str, str]]:
    for file in sorted(SOURCES.rglob("*.py")):
        for found in _PAPER.finditer(flat(file.read_text())):
            if found["arxiv"]:
                yield found["paper"], found["arxiv"]


def linked(found: list[tuple[str, str | None]], known: Mapping[str, str]) -> str:
    """The papers as text, with a link where a number is known."""
    texts = []
    for paper, own in found:
        number = own or known.get(paper)
        texts.append(f"[{paper}](https://arxiv.org/abs/{number})" if number else paper)
    return "; ".join(texts)


def flat(text: str | None) -> str:
    """The text with each paragraph on one line."""
    return "\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text or ""))


def paragraph(text: str) -> str:
    return text.split("\n")[0]


def first_line(made: Any) -> str:
    return (made.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")


def main() -> None:
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
