"""What the models really saw: clean image, perturbed image, amplified difference, and who was right."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from bitproof.records import Cell, ConditionRecord, ModelRecord
from bitproof.report.panels.base import Panel
from bitproof.report.sections import Section

EXAMPLES = 3
"""Pictures shown a condition."""

MOST = {"clean": 0, "attack": 4, "corruption": 4, "sequence": 0}
"""How many conditions of a kind are shown; of resizes it is the two between which accuracy differs most."""

OTHERS = 2
"""How many are shown of every other kind."""

SIDE = 160
"""Longer side above which pictures are scaled down: a report should fit into a mail."""

_FACTORS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

Image = Float32[np.ndarray, "c h w"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one model said about one picture."""

    model: str
    right: bool
    said: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as a data URI, and what the models that saw it said."""

    caption: str
    uri: str
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example: the number in its split, its label, and its pictures, the clean one first.

    Few pixels are shown as squares (`pixelated`); many are left to the browser.
    """

    id: int
    label: str
    pixelated: bool
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One condition, whether each model has its own image under it, and its examples."""

    title: str
    own_images: bool
    examples: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """The exhibits, and the names of the models whose eyes they are seen with."""

    models: tuple[str, ...]
    exhibits: tuple[Exhibit, ...]


def gallery(section: Section) -> Gallery | None:
    """The conditions worth a look that have stored pictures; None without any."""
    found = tuple(exhibit for c in _conditions(section) if (exhibit := _exhibit(section, c)))
    return Gallery(models=tuple(m.name for m in shown_models(section)), exhibits=found) if found else None


def shown_models(section: Section) -> list[ModelRecord]:
    """The reference and the model with the fewest bits."""
    fewest = min(section.models, key=lambda m: (m.weight_bits, m.act_bits))
    return [section.reference, *([fewest] if fewest != section.reference else [])]


def _conditions(section: Section) -> list[ConditionRecord]:
    """Attacks and corruptions at their strongest, the hardest first, and the resizes that differ most."""

    def accuracy(c: ConditionRecord) -> float:
        return float(np.mean([row["accuracy"] for (_, label), row in section.rows.items() if label == c.label]))

    chosen: list[ConditionRecord] = []
    for kind in dict.fromkeys(group.kind for group in section.groups):
        groups = [group for group in section.groups if group.kind == kind]
        if kind == "systematic":
            easier = sorted((c for group in groups for c in group.conditions), key=accuracy)
            chosen += [*easier[:1], *easier[1:][-1:]]
        else:
            chosen += sorted((group.conditions[-1] for group in groups), key=accuracy)[: MOST.get(kind, OTHERS)]
    return chosen


@dataclass(frozen=True, kw_only=True)
class _Sight:
    """One picture as one model saw it."""

    image: Image
    label: str
    verdict: Verdict


def _sights(cell: Cell) -> dict[int, _Sight]:
    """The cell's pictures by example id (positions may differ between cells)."""
    return {
        int(cell.ids[row]): _Sight(
            image=image.astype(np.float32),
            label=cell.data.words(int(cell.labels[row])),
            verdict=Verdict(
                model=cell.model.name,
                right=bool(cell.correct[row]),
                said=cell.data.words(int(cell.predictions[row])),
                confidence=float(cell.confidences[row]),
            ),
        )
        for row, image in zip(cell.pictures.rows, cell.pictures.images, strict=True)
    }


def _exhibit(section: Section, condition: ConditionRecord) -> Exhibit | None:
    names = [m.name for m in shown_models(section)]
    both = {name: [section.cells.get((name, label)) for label in ("clean", condition.label)] for name in names}
    seen = {name: [_sights(cell) for cell in pair if cell] for name, pair in both.items() if all(pair)}
    if not seen:
        return None
    ids = [i for i in next(iter(seen.values()))[0] if all(i in sights for pair in seen.values() for sights in pair)]
    # Models whose outcome the condition changes, then models that see another class at all.
    ids.sort(
        key=lambda i: [
            -sum(getattr(a[i].verdict, of) != getattr(b[i].verdict, of) for a, b in seen.values())
            for of in ("right", "said")
        ]
    )
    ids = ids[:EXAMPLES]
    if not ids:
        return None
    changes = np.abs([b[i].image - a[i].image for a, b in seen.values() for i in ids])
    large = float(np.quantile(changes, 0.99))  # not the maximum: one pixel of noise would hide the others
    factor = max(f for f in _FACTORS if f == _FACTORS[0] or f * large <= 0.5)
    own = condition.norm is not None and condition.source is None  # an attack on the model itself
    return Exhibit(
        title=condition.label,
        own_images=own,
        examples=tuple(_example(seen, i, factor, own) for i in ids),
    )


def _example(seen: dict[str, list[dict[int, _Sight]]], i: int, factor: float, own: bool) -> Example:
    cleans = [clean[i] for clean, _ in seen.values()]
    tested = [changed[i] for _, changed in seen.values()]
    pictures = [_picture("clean", cleans[0].image, cleans)]
    for viewers in [[sight] for sight in tested] if own else [tested]:
        image, verdict = viewers[0].image, viewers[0].verdict
        caption = f"for {verdict.model}" if own else "perturbed"
        change = image - cleans[0].image
        amplified = f"difference \N{MULTIPLICATION SIGN} {factor:g}" if change.any() else "no difference"
        pictures.append(_picture(caption, image, viewers))
        pictures.append(_picture(amplified, 0.5 + factor * change, []))
    return Example(
        id=i, label=cleans[0].label, pixelated=max(cleans[0].image.shape) < SIDE / 2, pictures=tuple(pictures)
    )


def _picture(caption: str, image: Image, sights: list[_Sight]) -> Picture:
    return Picture(caption=caption, uri=data_uri(image), verdicts=tuple(sight.verdict for sight in sights))


def data_uri(image: Image) -> str:
    """The [c, h, w] image as a PNG in a data URI: its first three channels as colours, or its first as grey."""
    from PIL import Image as pillow

    levels = (image.clip(0, 1) * 255).round().astype(np.uint8)
    picture = pillow.fromarray(levels[0] if len(levels) < 3 else levels[:3].transpose(1, 2, 0))
    picture.thumbnail((SIDE, SIDE), pillow.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


PANEL = Panel(name="gallery", title="Gallery", shows=gallery)
