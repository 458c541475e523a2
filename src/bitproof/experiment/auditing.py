"""Audits as a command makes them: with a bar, kept in a store evidence by evidence, beside clean models."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from torch import nn

from bitproof.audit import FULL, INQUIRIES, QUICK, Case, Inquiry, Meter, built_in, judged, scores
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError
from bitproof.experiment.environment import environment
from bitproof.quant import Scheme, as_schemes
from bitproof.records import Audit, Evidence
from bitproof.runner.progress import Progress
from bitproof.settings import as_settings
from bitproof.store import Store

SCHEMES = ("w8a8", "affine:w8a8,granularity=tensor", "w6a8", "w4a8", "affine:w4a8,granularity=tensor", "w4a4")
"""What a model may be quantized by, where nobody says."""


def audit_model(
    model: nn.Module,
    data: Data,
    calibration: Data,
    *,
    schemes: Sequence[Scheme | str] | Scheme | str | None = None,
    deployed: nn.Module | None = None,
    quick: bool = False,
    inquiries: Sequence[Inquiry | str] | Inquiry | str | None = None,
    clean: Sequence[nn.Module] | Mapping[str, nn.Module] = (),
    labelled: bool = True,
    folded: bool = False,
    seed: int = 0,
    batch_size: int = 128,
    store: str | Path | None = None,
    progress: bool = True,
    tell: Callable[[Evidence], None] = lambda _: None,
    name: str = "model",
) -> Audit:
    """Is this checkpoint safe to quantize, and is this deployed model what it claims to be?

    Args:
        model: the float model; it is not changed.
        data: a few hundred clean images.
        calibration: images that set activation ranges, others than `data`.
        schemes: what it may be quantized by; None = `SCHEMES`, or none where a deployed model is given.
        deployed: a model that claims to be made of `model`: a session, an integer form, or a quantized copy.
        quick: ask less, with fewer draws: a model is called suspicious by chance up to 2.5% of the time.
        inquiries: what is asked, in this order, as a value or as text such as "phases"; None =
            `bitproof.audit.FULL`, or `QUICK`.
        clean: clean float models of the same architecture, by their names if they have any, which are audited alike to
            compare with; 19 at least. Each counts once, and `model` itself not at all. Without, those count that
            bitproof has audited in exactly this way (`bitproof.audit.families`), if there are any.
        labelled: whether labels are known; if not, answers are compared with the float model's.
        folded: whether BatchNorm is folded before the model is quantized.
        seed: of all randomness.
        batch_size: images a pass; results do not depend on it.
        store: a file that keeps each evidence: the same call goes on from there. None keeps nothing.
        progress: show a bar.
        tell: is told of each evidence of `model` as it is found.
        name: of the model in the record.

    Returns:
        The verdict with its evidence.

    Raises:
        InputError: a model that is quantized already, schemes without codes, no images, or clean models beside a
            deployed one, of other outputs, or that are implants.

    Example:
        >>> import bitproof as bp
        >>> model, train = bp.load_model("digits_cnn", seed=1), bp.load_data("digits", split="train", limit=32)
        >>> found = audit_model(model, bp.load_data("digits", limit=20), train, quick=True, progress=False)
        >>> found.verdict, [evidence.name for evidence in found.evidence]
        ('clean', ['phases', 'disparity', 'specialness'])
    """
    keep_freed_memory()
    asked = QUICK if quick else FULL
    if inquiries is not None:
        asked = as_settings(inquiries, Inquiry, INQUIRIES, "inquiry")
    if not asked:
        raise InputError("no inquiries", rule="an audit asks something", remedy="Leave inquiries out")
    if clean and deployed is not None:
        raise InputError(
            f"{len(clean)} clean models beside a deployed one",
            rule="a model is ranked among models that are audited alike, and these are not deployed",
            remedy="Audit the float model beside them, and the pair by itself",
        )
    common = {
        "schemes": as_schemes(schemes if schemes is not None else SCHEMES if deployed is None else ()),
        "labelled": labelled,
        "folded": folded,
        "batch_size": batch_size,
    }
    if float_ := next((scheme.label for scheme in common["schemes"] if scheme.weight_bits == 32), None):
        raise InputError(
            f"scheme {float_!r}",
            rule="an audit looks at what rounding of weights does",
            remedy="Use schemes with 2 to 8 bits for weights",
        )
    case = Case.of(model, data, calibration, deployed=deployed, name=name, **common)
    named = clean if isinstance(clean, Mapping) else {f"clean {i}": of for i, of in enumerate(clean, 1)}
    beside = (Case.of(of, data, calibration, name=name, **common) for name, of in named.items())
    others = _others(case, beside)
    cases = [case, *others]
    wanted_of = [[inquiry for inquiry in asked if inquiry.asks(one)] for one in cases]
    total = sum(inquiry.passes(one) for one, those in zip(cases, wanted_of, strict=True) for inquiry in those)
    rng = Rng.of(seed)
    with Store(store) as kept, Progress(total, enabled=progress) as bar:
        run = kept.begin_run(environment())

        def evidence(one: Case, inquiry: Inquiry) -> Evidence:
            key, cost = inquiry.key(one, seed=seed), inquiry.passes(one)
            bar.start(f"{one.records[0].name}: {inquiry.name}")
            if key in kept:
                bar.advance(cost)
                return kept.get(key)
            done = 0

            def advance(passes: int) -> None:
                nonlocal done
                done += passes
                bar.advance(passes)

            found = inquiry(one, rng=rng, advance=advance)
            bar.advance(cost - done)
            kept.append(found, run)
            return found

        own: list[Evidence] = []
        for inquiry in wanted_of[0]:
            own.append(evidence(case, inquiry))
            tell(own[-1])
        beside, family = ([], "") if others else built_in(own)
        beside += [
            scores([evidence(one, inquiry) for inquiry in those])
            for one, those in zip(others, wanted_of[1:], strict=True)
        ]
        verdict = judged(own, clean=beside, family=family, unaudited=case.unaudited)
        kept.append(verdict, run)
    return verdict


def _outputs(case: Case) -> int:
    return Meter(1).answers(case.model, case.images[:1]).shape[1]


def _others(case: Case, clean: Iterable[Case]) -> list[Case]:
    """The clean models, each once and without the audited one: copies of one model are no ranks."""
    first = {case.records[0].fingerprint: case}
    outputs = _outputs(case)
    for one in clean:
        if "implant" in (one.records[0].origin or {}):
            raise InputError(
                f"{one.records[0].name} is an implant, as its origin says",
                rule="a model is ranked among clean ones",
                remedy="Leave it out",
            )
        if (other := _outputs(one)) != outputs:
            raise InputError(
                f"{one.records[0].name} has {other} outputs, and the audited model has {outputs}",
                rule="a model is ranked among clean ones of the same architecture",
                remedy="Leave it out",
            )
        first.setdefault(one.records[0].fingerprint, one)
    return list(first.values())[1:]
