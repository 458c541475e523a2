"""The numbers and conclusions of xiao2023 about natural noise: corruptions, sequences, decoders and resizes."""

from collections.abc import Sequence
from typing import Any

from bitproof.conditions import Condition
from bitproof.conditions.suites import corruptions, noises, sequences
from bitproof.data import Data
from bitproof.metrics import ACC_S, FP, MFP, MNR, NCI, SNI, SR
from bitproof.shifts import IMAGENET_C, Pipeline
from bitproof.tables.claims import Claim, pairs
from bitproof.tables.printed import Key
from bitproof.tables.readings import Reading, reading
from bitproof.tables.studies import accuracies
from bitproof.tables.table import CLEAN, Measured

METHODS = {"DoReFa": "dorefa", "PACT": "pact", "LSQ": "lsq"}
"""As the paper writes them, and as schemes are named."""

ACC = {"ACC": CLEAN}
"""The column of the clean accuracy."""

CORRUPTIONS = dict(
    zip(
        (
            *("Gauss", "Shot", "Impulse", "Defocus", "Glass", "Motion", "Zoom"),
            *("Snow", "Frost", "Fog", "Bright", "Contrast", "Elastic", "Pixel", "JPEG"),
        ),
        IMAGENET_C.values(),
        strict=True,
    )
)
SEQUENCES = ("Gauss", "Shot", "Motion", "Zoom", "Snow", "Bright", "Translate", "Rotate", "Tilt", "Scale")
LIBRARIES = {"pillow": "Pillow", "opencv": "OpenCV", "ffmpeg": "FFmpeg"}


def lower_bits(measured: Measured, columns: Sequence[str], *, higher: bool) -> tuple[tuple[Key, Key], ...]:
    """Of every method, the number of the fewest bits above that of the most, or below."""
    found: list[tuple[str, str]] = []
    for method in METHODS:
        own = [name for name in measured.models if name.startswith(f"{method} ")]
        if len(own) > 1:
            found.append((own[0], own[-1]) if higher else (own[-1], own[0]))
    return pairs(found, columns)


# ---- corruptions and sequences


def corrupted(severities: tuple[int, ...], data: Data) -> dict[str, Condition]:
    """All fifteen at these severities."""
    made = corruptions(data, CORRUPTIONS.values(), severities)
    names = [f"{name} {severity}" for name in CORRUPTIONS for severity in severities]
    return dict(zip(names, made, strict=True))  # pyright: ignore - corruptions are conditions


def natural(each: bool, measured: Measured) -> list[Reading]:
    """Tables 5 and 6: the means, and each corruption."""
    names, found = measured.changed, list[Reading]()
    for model in measured.models:
        if each:
            found += accuracies(measured, ACC, [model])
            found += [
                reading(model, kind, MNR, measured.under(model, *measured.named(f"{kind} "))) for kind in CORRUPTIONS
            ]
        found.append(reading(model, "mNR", MNR, measured.under(model, *names)))
        found.append(reading(model, "NCI", NCI, measured.under(model, CLEAN, *names)))
    return found


def natural_claims(measured: Measured) -> list[Claim]:
    """What Section 4.3 says of corruptions."""
    return [
        Claim(
            text="2 bits lose a larger part of their accuracy to corruptions than the float model",
            source="Section 4.3 (1)",
            pairs=pairs([(name, "float") for name in measured.models if "w2a2" in name], ["NCI"]),
        ),
        Claim(
            text="with every method, natural robustness grows with the bits: 8 above 2",
            source="Section 4.3 (1), Figure 2",
            pairs=lower_bits(measured, ["mNR"], higher=False),
        ),
    ]


def framed(data: Data) -> dict[str, Any]:
    """The ten sequences."""
    return dict(zip(SEQUENCES, sequences(data), strict=True))


def flips(each: bool, measured: Measured) -> list[Reading]:
    """Tables 7 and 8: the mean, and each sequence."""
    found: list[Reading] = []
    for model in measured.models:
        if each:
            found += [reading(model, name, FP, measured.under(model, name)) for name in SEQUENCES]
        found.append(reading(model, "mFP", MFP, measured.under(model, *SEQUENCES)))
    return found


def flip_claims(measured: Measured) -> list[Claim]:
    """What Section 4.3 says of sequences."""
    return [
        Claim(
            text="2 bits flip more often along a sequence than the float model",
            source="Section 4.3 (1), dynamic corruptions",
            pairs=pairs([(name, "float") for name in measured.models if "w2a2" in name], ["mFP"]),
        ),
        Claim(
            text="with every method, predictions are steadier with more bits: 2 bits flip more than 8",
            source="Section 4.3 (1), Figure 4",
            pairs=lower_bits(measured, ["mFP"], higher=True),
        ),
    ]


# ---- decoders and resizes


def noised(data: Data) -> dict[str, Pipeline]:
    """The fourteen noises by the names of Table 10."""
    return {_noise(made): made for made in noises(data) if isinstance(made, Pipeline)}


def _noise(made: Pipeline) -> str:
    """The resize or decoder that is another one, as the paper writes it: "OpenCV Lanczos", "decoder FFmpeg"."""
    if made.axis == "decoder":
        return f"decoder {LIBRARIES[made.decoder]}"
    library, _, mode = made.resize.partition("-")
    return f"{LIBRARIES[library]} {mode.rstrip('4').capitalize()}"


def systematic(each: bool, measured: Measured) -> list[Reading]:
    """Tables 9 and 10: means and spread, and each noise."""
    names, found = measured.changed, list[Reading]()
    for model in measured.models:
        if each:
            found += accuracies(measured, ACC, [model])
            found += [reading(model, name, ACC_S, measured.under(model, name)) for name in names]
        found.append(reading(model, "ACCs", ACC_S, measured.under(model, *names)))
        if not each:
            found.append(reading(model, "SNI", SNI, measured.under(model, CLEAN, *names)))
        found.append(reading(model, "SR", SR, measured.under(model, *names)))
    return found


def systematic_claims(measured: Measured) -> list[Claim]:
    """What Section 4.4 says."""
    return [
        Claim(
            text="2 bits are less accurate over decoders and resizes than 8, with every method",
            source="Section 4.4 (1)",
            pairs=lower_bits(measured, ["ACCs"], higher=False),
        )
    ]
