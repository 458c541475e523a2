"""What a panel is: one part of a section of the page, or nothing where it has nothing to show."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bitproof.report.sections import Section


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One part of a section.

    Attributes:
        name: of its template, `NAME.html.j2` beside this file, which is given the `section` and what is `shown`.
        title: in the page's navigation, which leads to the id `ANCHOR-NAME`; "" = not there.
        shows: what the template shows; nothing (None, or an empty list) leaves the panel out.
    """

    name: str
    title: str = ""
    shows: Callable[[Section], Any]
