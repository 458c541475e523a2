"""Clean models that bitproof has audited already: what honest models of a family score, for others to be ranked among.

A rank says something only among models that were asked the same. So a family is used where nothing differs: the
network, every image, the schemes, the inquiries and their revisions, the seed. Otherwise the reason is said, and the
command that would be alike. The files are made by `benchmarks/audit.py family`.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bitproof.audit.verdict import scores
from bitproof.errors import InputError
from bitproof.reading import refusing
from bitproof.records import Evidence

FOLDER = Path(__file__).parent / "scores"

WORDS = {
    "inquiry": "inquiries of other settings",
    "revision": "inquiries of another version of bitproof",
    "schemes": "other schemes",
    "calibration": "other images for the ranges of activations",
    "labelled": "labels used otherwise",
    "folded": "BatchNorm folded otherwise",
}
"""Parts of an evidence's setting, in words."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What clean models of one architecture scored, all asked the same.

    Attributes:
        command: that asks it, for people.
        architecture: as `load_model` knows it.
        data: fingerprint of the images.
        seed: of all randomness.
        asked: the setting of each evidence, by its name.
        models: the scores of each clean model, by its fingerprint.
        made: how the models were made, in words.
    """

    command: str
    architecture: str
    data: str
    seed: int
    asked: dict[str, dict[str, Any]]
    models: dict[str, dict[str, float]]
    made: str

    def differences(self, evidence: Sequence[Evidence]) -> Iterator[str]:
        """In what a model was asked otherwise than these were, in words."""
        first = evidence[0]
        if first.deployed is not None:
            yield "no deployed model beside them"
        if first.data.fingerprint != self.data:
            yield "other images"
        if first.seed != self.seed:
            yield "another seed"
        pairs = [(found.setting, self.asked.get(found.name)) for found in evidence]
        if any(asked is None for _, asked in pairs):
            yield "fewer inquiries"
        for part, words in WORDS.items():
            if any(asked is not None and setting.get(part) != asked.get(part) for setting, asked in pairs):
                yield words


def family_of(command: str, made: str, audited: Sequence[Sequence[Evidence]]) -> Family:
    """The family of clean models that were audited alike, from the evidence about each.

    Raises:
        InputError: models of several architectures or of none that has a name, or that were not asked the same.
    """
    first = audited[0][0]
    if first.model.architecture is None:
        raise InputError(
            f"model {first.model.name!r}", rule="a family has a named architecture", remedy="Use one of `bitproof list`"
        )
    family = Family(
        command=command,
        architecture=first.model.architecture,
        data=first.data.fingerprint,
        seed=first.seed,
        asked={found.name: found.setting for found in audited[0]},
        models={evidence[0].model.fingerprint: scores(evidence) for evidence in audited},
        made=made,
    )
    for evidence in audited:
        model, others = evidence[0].model, [*family.differences(evidence)]
        if model.architecture != family.architecture or others:
            raise InputError(
                f"{model.name!r} ({', '.join([str(model.architecture), *others])}) beside {first.model.name!r}",
                rule="clean models of a family are audited alike",
                remedy="Leave it out",
            )
    return family


def write(family: Family, path: Path) -> None:
    """Keep a family as JSON."""
    path.write_text(json.dumps(vars(family), indent=1) + "\n", encoding="utf-8")


@cache
def families() -> tuple[Family, ...]:
    """Those that come with bitproof, as they are when they are first asked for.

    Raises:
        InputError: a file that is not as it came.
    """
    return tuple(read(path) for path in sorted(FOLDER.glob("*.json")))


def read(path: Path) -> Family:
    """What `write` kept.

    Raises:
        InputError: another file.
    """
    with refusing(
        repr(str(path)),
        rule="it is what clean models scored, as it came with bitproof",
        remedy="Install bitproof again",
    ):
        found = Family(**json.loads(path.read_text(encoding="utf-8")))
        if any(of.keys() != found.asked.keys() for of in found.models.values()):
            raise ValueError("models that were not asked the same")
        if not all(math.isfinite(score) for of in found.models.values() for score in of.values()):
            raise ValueError("a score that is no number")
    return found


def built_in(evidence: Sequence[Evidence], known: Sequence[Family] | None = None) -> tuple[list[dict[str, float]], str]:
    """The scores of clean models that were asked what this one was, without itself, and which they are in words; or
    none and why, where none were.

    Args:
        evidence: about one model.
        known: families to look among; None = `families()`.
    """
    first = evidence[0].model
    own = [family for family in (families() if known is None else known) if family.architecture == first.architecture]
    if not own:
        return [], f"bitproof has no clean models of {first.architecture or 'this network'} to compare with"
    family, others = min(((family, [*family.differences(evidence)]) for family in own), key=lambda of: len(of[1]))
    clean = [of for name, of in family.models.items() if name != first.fingerprint]
    which = f"{len(clean)} clean models of {family.architecture} that bitproof has audited"
    if others:
        return [], f"the {which} were asked with {' and '.join(others)} (`{family.command}` asks the same)"
    return clean, f"{which} ({family.made})"
