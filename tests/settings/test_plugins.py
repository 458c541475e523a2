"""What other packages add: found by its name, imported on use, refused where the name is taken, part of every key."""

import shutil
import sys
import tomllib
from pathlib import Path

import pytest

import bitproof as bp
from bitproof.conditions import parse_condition
from bitproof.errors import InputError
from bitproof.settings import describe, plugins
from bitproof.subjects import Subject

PACKAGE = Path(__file__).parents[2] / "examples" / "tiny_plugin"
DATA = bp.load_data("digits", limit=16)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put the package, or what is made of it, where an installer would."""

    def put(version="0.1.0", name="tiny-plugin", groups=None, code=None) -> None:
        folder = tmp_path / f"{name}-{version}"
        shutil.copytree(PACKAGE / "tiny_plugin", folder / "tiny_plugin")
        if code is not None:
            (folder / "tiny_plugin" / "__init__.py").write_text(code)
        about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        about.mkdir()
        about.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        groups = groups or tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"]
        lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in has.items()) for group, has in groups.items()]
        about.joinpath("entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(folder)
        sys.modules.pop("tiny_plugin", None)

    yield put
    sys.modules.pop("tiny_plugin", None)


def test_all_of_it_is_used_by_name(install, tmp_path):
    install()
    model = bp.load_model("tiny")
    powers = bp.quantize(model, "powers:w3a32,first=same,last=same", DATA)
    weight = powers.backbone[0].weight
    assert set((weight.abs() / weight.abs().max()).log2().unique().tolist()) <= {0.0, -1.0, -2.0, -3.0}
    result = bp.evaluate(
        {"float": model, "powers": powers},
        DATA,
        conditions=["darker:eps=0.1", "darker:eps=0.2", "mirrored", "eot:attack=darker(eps=0.1)"],
        executor="least-first",
        store=tmp_path / "s.db",
        progress=False,
    )
    assert {c.condition.kind for c in result.cells} == {"clean", "attack", "mirror"} and result.computed == 10
    (about,) = result.environments
    assert about["packages"]["tiny-plugin"] == "0.1.0"
    local = bp.evaluate({"float": model}, DATA, conditions=["mirrored"], store=tmp_path / "s.db", progress=False)
    assert (local.computed, local.reused) == (0, 2)


def test_another_version_is_another_condition_and_another_model(install):
    install()
    old = describe(parse_condition("mirrored"), sources=True), Subject.of(bp.load_model("tiny")).fingerprint
    install(version="0.2.0")
    new = describe(parse_condition("mirrored"), sources=True), Subject.of(bp.load_model("tiny")).fingerprint
    assert old[0] != new[0] and old[0]["type"] == new[0]["type"] == "tiny_plugin:Mirrored"


def test_listing_imports_nothing(install, run):
    install()
    code, out, _ = run("list")
    assert code == 0 and "tiny_plugin" not in sys.modules
    for name, target in (("darker", "Darker"), ("mirrored", "Mirrored"), ("powers:wXaY", "Powers"), ("tiny", "TINY")):
        assert any(
            line.split()[:4] == [name, f"tiny_plugin:{target}", "of", "tiny-plugin"] for line in out.splitlines()
        )
    assert len(plugins()) == 5 and "tiny_plugin" not in sys.modules


def test_a_name_that_is_taken_is_refused(install, run):
    install(
        groups={"bitproof.attacks": {"pgd": "tiny_plugin:Darker"}, "bitproof.schemes": {"lsq": "tiny_plugin:Powers"}}
    )
    for use in (lambda: parse_condition("pgd"), lambda: bp.Scheme.parse("lsq:w4a4")):
        with pytest.raises(InputError, match=r"several things are called.*bitproof and of tiny-plugin 0.1.0"):
            use()
    assert parse_condition("fgsm").label
    install(name="other")
    install(name="third")
    with pytest.raises(InputError, match=r"of other 0.1.0 and of third 0.1.0"):
        parse_condition("darker")
    code, out, _ = run("list", "attacks")
    assert code == 0 and "refused: the name is taken" in out and "darker (third)" in out


def test_a_package_that_fails_says_so(install):
    install(code="import json\njson.loads('{')\n")
    with pytest.raises(InputError, match=r"'darker' of tiny-plugin 0.1.0 cannot be loaded \(JSONDecodeError"):
        parse_condition("darker")
    install(version="2", code="")
    with pytest.raises(InputError, match=r"AttributeError"):
        parse_condition("darker")


def test_unknown_names_are_unknown_still(install):
    install()
    with pytest.raises(InputError, match=r"unknown condition 'darkr'.*Did you mean 'darker'"):
        parse_condition("darkr")
    with pytest.raises(InputError, match=r"unknown executor 'x'.*known are least-first, processes, ray"):
        bp.evaluate(bp.load_model("digits_cnn"), DATA, executor="x", progress=False)
