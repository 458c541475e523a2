"""Agreement of an ensemble's members, against counts by hand, a plain loop, and the ensemble itself."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bitproof as bp
from bitproof.analysis import MemberAgreement
from bitproof.attacks import BIM, DIVA, Square
from bitproof.core.voting import majorities, votes
from bitproof.data import from_arrays
from bitproof.defences import Ensemble
from bitproof.errors import InputError
from bitproof.subjects import Subject
from trained_digits import run as evaluated


class Told(nn.Module):
    """Answers by the first pixel's code, as it is told, whatever the rest of the image."""

    answers: Tensor

    def __init__(self, answers: list[int]) -> None:
        super().__init__()
        self.register_buffer("answers", torch.tensor(answers))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        said = self.answers[(x[:, 0, 0, 0] * 255).round().long() // 20]
        return 5.0 * nn.functional.one_hot(said, 4) + 1e-3 * x.flatten(1).sum(1, keepdim=True)


def test_counts_are_those_by_hand():
    images = np.zeros((6, 1, 2, 2), np.uint8)
    images[:, 0, 0, 0] = 20 * np.arange(6) + 10
    data = from_arrays(images, np.array([0, 0, 1, 1, 2, 2]), classes=("a", "b", "c", "d"))
    models = {
        "x": Told([0, 0, 1, 2, 2, 3]),  # wrong on images 3 and 5
        "y": Told([0, 1, 1, 2, 0, 0]),  # wrong on 1, 3, 4 and 5
        "z": Told([0, 1, 1, 1, 0, 2]),  # wrong on 1 and 4
    }
    found = MemberAgreement(attack=BIM(eps=1 / 255, steps=2))(models, data, batch_size=4)
    assert found.same[0].tolist() == [[6, 3, 2], [3, 6, 4], [2, 4, 6]]
    assert found.wrong[0].tolist() == [[2, 2, 0], [2, 4, 2], [0, 2, 2]]
    assert found.alike[0].tolist() == [[2, 1, 0], [1, 4, 2], [0, 2, 2]]
    assert found.majorities == (2, 3)
    # images 0 and 2: three agree; 1, 4 (wrongly, by y and z) and 3 (wrongly, by x and y): two; 5: nobody
    assert found.answered[0].tolist() == [5, 2] and found.fooled[0].tolist() == [3, 0]
    assert (found.same[1:] == found.same[0]).all()  # such an attack changes no answer
    assert found.images == ("clean", *(f"bim-2 linf 1/255 to the end on {name}" for name in "xyz"))
    assert "On clean images x and z agree least: on 33.3% (n = 6); both are wrong on 0.0%." in found.findings
    assert len(found.table()) == 4 * 3
    assert found.table().iloc[0][["model", "other", "same", "both wrong"]].tolist() == [
        "x",
        "y",
        0.5,
        pytest.approx(1 / 3),
    ]


def test_it_is_what_a_plain_loop_and_the_ensemble_find(models, data):
    """Images made on one member are those of a transfer; the filter is that of the defence."""
    few, attack = data.take(16), BIM(eps=24 / 255, steps=4)
    members = {"float": models["float"], "w4a4": models["w4a4"], "other": bp.quantize(models["float"], "w3a32")}
    found = MemberAgreement(attack=attack)(members, few, batch_size=5)
    for k, source in enumerate(members.values()):
        images, labels = few.images(np.arange(16)), torch.from_numpy(few.labels)
        made = attack.to_the_end()(bp.freeze(source), images, labels, rng=bp.Rng(0, few.ids))  # draws nothing
        said = torch.stack([model(made).argmax(1) for model in members.values()])
        wrong = said != labels
        assert found.same[1 + k].tolist() == [[int((a == b).sum()) for b in said] for a in said]
        assert found.wrong[1 + k].tolist() == [[int((a & b).sum()) for b in wrong] for a in wrong]
    assert found.wrong[1, 0, 0] > found.wrong[0, 0, 0]  # it does deceive its own
    for a, m in enumerate(found.majorities):
        behind = Ensemble(agreeing=m)(*members.values())
        examined = behind.examine(few.images(np.arange(16)))
        assert examined.refused is not None
        assert int((~examined.refused).sum()) == found.answered[0, a]
        assert int(examined.fooled(torch.from_numpy(few.labels)).sum()) == found.fooled[0, a]


def test_votes_and_majorities():
    assert votes(torch.tensor([[0, 1], [0, 2], [1, 2]]), 3).tolist() == [[2, 1, 0], [0, 1, 2]]
    assert [list(majorities(m)) for m in (2, 3, 4, 5)] == [[2], [2, 3], [3, 4], [3, 4, 5]]


@pytest.mark.slow
def test_it_is_reachable_by_name_and_stored(run, tmp_path):
    command = ["evaluate", "digits_cnn", "--data", "digits", "--limit", 6, "--suite", "clean", "--scheme", "w4a4"]
    command += ["--scheme", "w2a32", "--analysis", "agreement:attack=fgsm(eps=0.1)", "--store", tmp_path / "s.db"]
    code, out, err = run(*command, "--report", tmp_path / "r.html")
    assert code == 0, err
    assert "to agree" in " ".join(out.split()) and "Agreement of members" in (tmp_path / "r.html").read_text()
    assert "0 results computed" in run(*command)[1]
    with bp.Store(tmp_path / "s.db", readonly=True) as store:
        (record,) = store.query("agreement")
    assert [m.name for m in (record.model, *record.others)] == ["float", "affine w4a4", "affine w2a32"]


def test_who_cannot_be_compared_is_told(models, data):
    with pytest.raises(InputError, match="one model: members of an ensemble are compared"):
        MemberAgreement()({"alone": models["float"]}, data.take(2))
    with pytest.raises(InputError, match="has none of float to explain.*agreement at two models or more"):
        evaluated({"float": models["float"]}, data.take(2), [], analyses=["agreement"])
    with pytest.raises(InputError, match="the attack is diva-20 linf 8/255: images are made on one member at a time"):
        MemberAgreement(attack=DIVA())
    records = [Subject.of(model).record(name) for name, model in models.items()]
    assert MemberAgreement(attack=Square()).groups(records) == [tuple(records)]
