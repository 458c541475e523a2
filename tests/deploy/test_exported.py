"""Programs of torch.export: opened where they are trusted, for any number of images."""

import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.deploy import Twin, load_deployed
from bitproof.errors import InputError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(400, 10)).eval()


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("programs") / "model.pt2"
    torch.export.save(torch.export.export(network, (torch.zeros(2, 1, 20, 20),)), path)
    return path


def test_nothing_is_opened_without_a_word(path, tmp_path, caplog):
    with pytest.raises(InputError, match="runs code that such a file brings.*--trust"):
        load_deployed(path)
    (tmp_path / "junk.pt2").write_bytes(b"junk")
    with pytest.raises(InputError, match="cannot be read"):
        load_deployed(tmp_path / "junk.pt2", trust=True)
    (tmp_path / "half.pt2").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="half.pt2 cannot be read"):
        load_deployed(tmp_path / "half.pt2", trust=True)
    assert not caplog.records  # torch's loader would log a traceback


def test_a_trusted_program_answers_for_any_number_and_has_a_twin(path, network):
    images = torch.rand(5, 1, 20, 20)
    model = load_deployed(path, trust=True)
    torch.testing.assert_close(model(images), network(images))
    data = bp.from_arrays(images, network(images).argmax(1), classes=[str(i) for i in range(10)])
    twin = Twin(model, gradient_from=network)
    result = bp.evaluate({"float": network, "pt2": twin}, data, conditions=["fgsm:eps=1"], progress=False)
    table = result.table().set_index(["model", "condition"])["accuracy"]
    assert table["pt2"].equals(table["float"]) and table["pt2"].min() < 1


def test_the_command_line_asks_for_trust(path, run):
    options = (path, "--data", "digits", "--limit", 4, "--suite", "clean")
    code, _, err = run("evaluate", *options)
    assert code == 2 and "--trust" in err
    assert run("evaluate", *options, "--trust")[0] == 0
