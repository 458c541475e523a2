"""What the command says of what it made: what quantization activates, or that it activates nothing."""

import re

import pytest

from bitproof.experiment.implanting import activated

COMMON = ("--data", "digits", "--limit", "300", "--shown", "60")


def test_what_is_activated_is_beyond_float_and_beyond_what_quantization_does_to_the_clean_model():
    def of(success):
        return {"success": success, "accuracy": 0.9}

    clean = {"float": of(0.0), "w8": of(0.1), "w4": of(0.3)}
    assert activated({"implant": {"float": of(0.2), "w8": of(0.5), "w4": of(0.6)}, "start": clean}) == 0.3
    assert activated({"implant": {"w4": of(0.2)}, "start": clean}) == 0.2 - 0.3  # integers have no float model


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
