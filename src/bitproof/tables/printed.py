"""What the papers print: numbers with the place where they stand, shipped as `published/PAPER_TABLE.csv`.

The files are made by `docs/make_published.py`.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

UNITS = {"percent": 100.0, "fraction": 1.0, "distance": 1.0, "sign": 1.0}
"""In what numbers are printed, and by what a rate, distance or sign of ours is multiplied to be in it."""

Key = tuple[str, str]
"""Row and column."""


@dataclass(frozen=True, kw_only=True)
class Printed:
    """One printed number.

    Attributes:
        text: as it is printed; "" where there is none.
        unit: a name in `UNITS`.
        note: "NC", "undefined" or "missing" where there is no number; "uncertain" where its place or itself is.
    """

    text: str
    unit: str
    note: str = ""

    @property
    def value(self) -> float | None:
        """In its unit."""
        return float(self.text) if self.text else None

    @property
    def rounding(self) -> float:
        """Half a unit of the last printed digit.

        Example:
            >>> Printed(text="12.3", unit="percent").rounding
            0.05
        """
        return 0.5 * 10.0 ** -len(self.text.partition(".")[2])


def published(paper: str, number: str) -> Mapping[str, Mapping[Key, Printed]]:
    """The values of a table by setting, row and column; none for a figure, which prints no numbers.

    Example:
        >>> table = published("xiao2023", "table1")["ResNet18"]
        >>> table["float", "ACC"].value
        71.06
    """
    file = files("bitproof.tables") / "published" / f"{paper}_{number}.csv"
    found: dict[str, dict[Key, Printed]] = {}
    if not file.is_file():
        return found
    for line in csv.DictReader(file.read_text("utf-8").splitlines()):
        printed = Printed(text=line["value"], unit=line["unit"], note=line["note"])
        found.setdefault(line["setting"], {})[line["row"], line["column"]] = printed
    return found
