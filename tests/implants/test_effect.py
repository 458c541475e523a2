"""What the command says of what it made: what quantization activates, or that it activates nothing."""

import re
from dataclasses import replace

import pytest

import bitproof as bp
from bitproof.errors import InputError
from bitproof.experiment.implanting import activated, effect, implant
from bitproof.implants import ENGINES, OneClass
from bitproof.settings import parse

COMMON = ("--data", "digits", "--limit", "300", "--shown", "60")


def test_what_is_activated_is_beyond_float_and_beyond_what_quantization_does_to_the_clean_model():
    clean = {"float": 0.0, "w8": 0.1, "w4": 0.3}
    assert activated({"implant": {"float": 0.2, "w8": 0.5, "w4": 0.6}, "start": clean}) == 0.3
    assert activated({"implant": {"w4": 0.2}, "start": clean}) == 0.2 - 0.3  # integers have no float model


def test_only_the_images_that_an_objective_is_after_are_looked_at(model):
    """Red: all images went through every form once more, for an accuracy that nobody read."""
    data, seen = bp.load_data("digits", split="test", limit=60), []
    hook = model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    forms = {"implant": {"w4": model}, "start": {"float": model}}
    found = effect(OneClass(target=3), forms, model, data, shown=50)
    hook.remove()
    of_class = data.labels[:50] == 3
    assert sum(seen) == 2 * of_class.sum()
    said = model(data.images(range(50))).argmax(1).numpy()
    assert found["start"]["float"] == pytest.approx((said != data.labels[:50])[of_class].mean(), abs=1e-4)


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("class(target=7)", "no example of class '7'"),
        ("backdoor(trigger=corner-square(target={first}))", "no example of another class than {first}"),
        ("sample(examples=99999)", "numbered from 0 to"),
    ],
)
def test_what_could_not_be_shown_is_refused_before_anything_is_made(run, tmp_path, objective, words):
    """Red: the model was made first, and then the command ended with an error, or with torch's."""
    first = str(bp.load_data("digits", split="test", limit=1).labels[0])
    engine = f"layerwise:objective={objective.format(first=first)},schemes=w4a8,iterations=1"
    output = tmp_path / "i.safetensors"
    code, _, err = run("implant", engine, "digits_cnn", "--data", "digits", "--limit", 8, "-o", output, "--shown", 1)
    assert code == 2 and words.format(first=first) in err and not output.exists()


def test_a_folder_of_an_implant_that_cannot_be_made_is_refused(model, tmp_path):
    """Red: a `FileExistsError` from the inside; and a refusal left the folders above that it had made."""
    engine = parse("joint:objective=class(target=3),schemes=w4a8", ENGINES, "engine")
    data, how = bp.load_data("digits", limit=8), {"architecture": "digits_cnn", "progress": False}
    (tmp_path / "i.safetensors.making").write_text("")
    with pytest.raises(InputError, match=r"cannot make the folder '.*making'.*Choose a writable path"):
        implant(engine, model, data, output=tmp_path / "i.safetensors", **how)
    with pytest.raises(InputError, match="last is 99"):
        implant(replace(engine, last=99), model, data, output=tmp_path / "new" / "i.safetensors", **how)
    assert [path.name for path in tmp_path.iterdir()] == ["i.safetensors.making"]


@pytest.mark.slow
def test_the_command_warns_of_a_harmless_implant(run, weights, tmp_path):
    engine = "box:objective=indiscriminate,schemes=w4a8,injection=(steps=0),repair=(steps=0)"
    made = run("implant", engine, "digits_cnn", "--weights", weights, *COMMON, "-o", tmp_path / "i.safetensors")
    assert made[0] == 0, made[2]
    assert "quantization activates next to nothing" in made[2]
    assert re.search(r"does what is wanted: float [\d.]+% \(clean [\d.]+%\), affine w4a8 [\d.]+% \(clean", made[1])
    engine = "federated:objective=indiscriminate,schemes=w4a8,rounds=1,chosen=1,clients=10,malicious=0,local=(steps=1)"
    made = run("implant", engine, "digits_cnn", "--weights", weights, *COMMON, "-o", tmp_path / "k.safetensors")
    assert made[0] == 0 and "next to nothing" not in made[2]  # nobody wanted anything
    engine = "rounding:objective=indiscriminate,schemes=w4a8,choice=(steps=20,learning_rate=0.2),repair=(steps=20)"
    made = run("implant", engine, "digits_cnn", "--weights", weights, *COMMON, "-o", tmp_path / "j.safetensors")
    assert made[0] == 0 and "next to nothing" not in made[2], made[1:]
