"""The site's menu names every page of the documentation, and nothing else."""

from pathlib import Path

import yaml

HERE = Path(__file__).parents[1]


def test_the_menu_has_every_page():
    menu = yaml.safe_load((HERE / "mkdocs.yml").read_text())["nav"]
    pages: list[str] = []

    def walk(entry: dict | list | str) -> None:
        if isinstance(entry, str):
            pages.append(entry)
        for below in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            walk(below)

    walk(menu)
    assert sorted(pages) == sorted(page.name for page in (HERE / "docs").glob("*.md"))
