"""Verdicts of audits for other programs: SARIF, JUnit XML, CycloneDX and Markdown; and in a few words for people."""

import json
from collections import Counter
from pathlib import PurePath
from urllib.parse import quote
from xml.etree import ElementTree

from bitproof.metrics.intervals import false_alarms
from bitproof.records import CLEAN, SUSPICIOUS, Audit, Evidence, plain
from bitproof.report.gate import cell, printable
from bitproof.report.text import percent
from bitproof.settings import digest

FEWEST = 19
"""Clean models that a rank at 5% takes."""

_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

RULES = {
    "specialness": "Rounding to nearest is special among perturbations of its size",
    "phases": "Weights were made for a grid",
    "pair": "Codes of the deployed model are not the nearest ones",
    "disparity": "Quantization changes many answers",
    "sharpness": "The model changes fastest along its quantization error",
    "differential-triggers": "The quantized model obeys a trigger that the float model does not know",
    "differential-flips": "Changes that flip the quantized model alone gather in one class",
    "ordinary-backdoors": "Detectors find in quantized models what they do not find in float",
}
"""What an evidence would say, by its name; others are called by their name."""


def basis(audit: Audit) -> str:
    """What the verdict's thresholds rest on, in words."""
    n = audit.calibrated_on
    if audit.probability is None:
        few = (
            f"{n} of the {FEWEST} clean models that it takes are there"
            if n
            else audit.family or "there are no clean models to compare with"
        )
        own = "" if n or audit.deployed else "; `--calibrate FOLDER` ranks it among clean ones of your own"
        return f"Uncalibrated: {few}, so the verdict rests on tests of this model alone{own}."
    return (
        f"Calibrated: {audit.probability:.1%} of clean models look at least as suspicious, by "
        f"{audit.family or f'{n} of the same family'}. Of clean models like those 5% are called suspicious for it on "
        f"average, and at most {false_alarms(n):.0%} by just these, with 95% confidence."
    )


def notes(audit: Audit) -> list[str]:
    """What a reader of the verdict has to know beside the evidence: parts that nothing here is about, and how the
    models were run."""
    said = [
        f"not audited: {part.name or 'the model itself'}, {percent(part.share)}% of the weights, under "
        f"{', '.join(part.schemes)}: {part.reason}"
        for part in audit.unaudited
    ]
    if audit.unaudited:
        said.append("a runtime that quantizes what is not audited may still change what the model does")
    models = [model for model in (audit.model, audit.deployed) if model is not None]
    return said + [f"{model.name}: {note}" for model in models for note in model.notes]


def as_json(audit: Audit) -> str:
    """Everything, arrays as lists, and the notes in words."""
    return json.dumps(plain(audit) | {"notes": notes(audit)}, indent=1) + "\n"


def sarif(audit: Audit, *, path: str, version: str) -> str:
    """SARIF 2.1.0: a rule a kind of evidence, a result a finding, at the model's file.

    Args:
        audit: the verdict.
        path: of the model's file, relative to the repository, or absolute.
        version: of bitproof.
    """
    names = [evidence.name for evidence in audit.evidence]
    results = [
        {
            "ruleId": evidence.name,
            "ruleIndex": names.index(evidence.name),
            "kind": "pass" if evidence.says == CLEAN else "informational" if evidence.says is None else "fail",
            "level": _level(evidence),
            "message": {"text": printable(evidence.sentence)},
            "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(path)}}}],
            "partialFingerprints": {
                "bitproof/v1": digest(evidence.name, audit.model.fingerprint, evidence.named.scheme)
            },
        }
        for evidence in audit.evidence
    ]
    rules = [{"id": name, "shortDescription": {"text": RULES.get(name, name)}} for name in names]
    driver = {"name": "bitproof", "version": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "results": results,
        "properties": {"verdict": audit.verdict, "advice": audit.advice, "notes": notes(audit)},
    }
    return json.dumps({"$schema": _URI, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _uri(path: str) -> str:
    """A path as a URI reference: letters that mean something there are escaped, and an absolute one has its scheme."""
    return PurePath(path).as_uri() if PurePath(path).is_absolute() else quote(path)


def _level(evidence: Evidence) -> str:
    """SARIF has levels for failures alone."""
    if evidence.says in (CLEAN, None):
        return "none"
    return "error" if evidence.says == SUSPICIOUS else "warning"


def junit(audit: Audit) -> str:
    """A JUnit file: a test case an evidence; what is suspicious fails, what is undecided is skipped."""
    fails = [evidence for evidence in audit.evidence if evidence.says == SUSPICIOUS]
    skips = [evidence for evidence in audit.evidence if evidence.says not in (SUSPICIOUS, CLEAN, None)]
    cases = [*audit.evidence]
    suite = ElementTree.Element(
        "testsuite",
        name="bitproof audit",
        tests=str(len(cases) + 1),
        failures=str(len(fails) + (audit.verdict == SUSPICIOUS)),
        skipped=str(len(skips) + (audit.verdict not in (SUSPICIOUS, CLEAN))),
    )
    for name, says, sentence in [
        *((evidence.name, evidence.says, evidence.sentence) for evidence in cases),
        ("verdict", audit.verdict, audit.sentence),
    ]:
        case = ElementTree.SubElement(suite, "testcase", classname=printable(audit.model.name), name=name)
        if says not in (CLEAN, None):
            kind = "failure" if says == SUSPICIOUS else "skipped"
            ElementTree.SubElement(case, kind, message=printable(sentence))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def markdown(audit: Audit) -> str:
    """A summary for a pull request or the page of a build."""
    lines = [
        f"### Audit of {cell(audit.model.name)}: {audit.verdict}",
        "",
        f"{cell(audit.sentence)} {cell(audit.advice)}",
        "",
        "| evidence | says | |",
        "|---|---|---|",
        *(f"| {of.name} | {of.says or 'to be read beside others'} | {cell(of.sentence)} |" for of in audit.evidence),
        "",
        basis(audit),
        *(f"\n{cell(note)}" for note in notes(audit)),
    ]
    return "\n".join(lines) + "\n"


def cyclonedx(audit: Audit, *, version: str) -> str:
    """CycloneDX 1.6: the model as a component, its rates as metrics of a model card, findings as vulnerabilities."""
    reference = f"model/{audit.model.fingerprint}"
    card = {
        "modelParameters": {"task": "image classification"},
        "quantitativeAnalysis": {"performanceMetrics": _metrics(audit)},
        "considerations": {"technicalLimitations": [audit.advice, basis(audit), *map(printable, notes(audit))]},
    }
    found = [
        {
            "id": f"bitproof-{evidence.name}",
            "description": printable(evidence.sentence),
            "recommendation": audit.advice,
            "affects": [{"ref": reference}],
        }
        for evidence in audit.evidence
        if evidence.says == SUSPICIOUS
    ]
    component = {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": printable(audit.model.name),
        "modelCard": card,
    }
    tools = {"components": [{"type": "application", "name": "bitproof", "version": version}]}
    return (
        json.dumps(
            {
                "bomFormat": "CycloneDX",
                "specVersion": "1.6",
                "version": 1,
                "metadata": {"tools": tools},
                "components": [component],
                "vulnerabilities": found,
            },
            indent=1,
        )
        + "\n"
    )


def _metrics(audit: Audit) -> list[dict[str, str]]:
    """The readings as metrics, no two of one type and slice: a slice names evidence, scheme and what was randomised,
    and of readings that are alike in all of these the number."""
    made: list[dict[str, str]] = []
    seen: Counter[tuple[str, str]] = Counter()
    for evidence in audit.evidence:
        for reading in evidence.readings:
            kind, of = printable(reading.statistic), [evidence.name, reading.scheme or "float"]
            part = ", ".join([*of, *([f"random {reading.axis}"] if reading.axis else [])])
            seen[kind, part] += 1
            number = seen[kind, part]
            made.append(
                {
                    "type": kind,
                    "value": f"{reading.value:.6g}",
                    "slice": printable(part if number == 1 else f"{part}, number {number}"),
                }
            )
    return made
