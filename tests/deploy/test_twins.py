"""A deployed file attacked through a twin: judged on the file, with the gradient of its own grids or of its origin."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

import bitproof as bp
from bitproof.attacks import PGD
from bitproof.core.passes import Counted
from bitproof.errors import InputError
from bitproof.subjects import Subject

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from bitproof.deploy import OnnxModel, Twin, check_twin, differentiable, kinship  # noqa: E402
from bitproof.deploy.integer_operators import INTEGER_OPERATORS  # noqa: E402
from bitproof.deploy.kinship import correlation  # noqa: E402
from foreign_onnx import convolutional, quantized  # noqa: E402

QUANTIZED = {
    "qdq": {},
    "qdq, one scale a channel": {"per_channel": True},
    "qdq, int8 activations": {"activation_type": 1},
    "qoperator": {"quant_format": 0},
    "qoperator, one scale a channel": {"quant_format": 0, "per_channel": True},
}


def options_of(case):
    from onnxruntime.quantization import QuantFormat, QuantType

    options = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt8} | QUANTIZED[case]
    if options["quant_format"] == 0:
        options["quant_format"] = QuantFormat.QOperator
    if options["activation_type"] == 1:
        options["activation_type"] = QuantType.QInt8
    return options


@pytest.fixture(scope="module")
def images():
    return next(bp.load_data("digits", limit=40).inputs(40))


@pytest.fixture(scope="module")
def network():
    return OnnxModel(convolutional()).graph()


def gradient(model, images):
    inputs = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(nn.functional.cross_entropy(model(inputs), torch.arange(len(images)) % 10), inputs)
    return found


def alike(one, other):
    return nn.functional.cosine_similarity(one.flatten(1), other.flatten(1)).mean().item()


def test_a_twin_answers_with_the_file_and_differentiates_through_the_other_model():
    weight = torch.randn(10, 400, generator=torch.Generator().manual_seed(0))
    other = nn.Sequential(nn.Flatten(), nn.Linear(400, 10, bias=False))
    with torch.no_grad():
        other[1].weight.copy_(weight)

    class Rounded(nn.Module):
        differentiable = False

        def forward(self, images):
            assert not images.requires_grad
            return (images.flatten(1) @ weight.T).round()

    twin = Twin(Rounded(), gradient_from=other)
    x = torch.rand(3, 1, 20, 20, requires_grad=True)
    answer = twin(x)
    assert torch.equal(answer, Rounded()(x.detach()))
    (found,) = torch.autograd.grad(answer[:, 4].sum(), x)
    torch.testing.assert_close(found, weight[4].view(1, 1, 20, 20).expand(3, 1, 20, 20))
    assert not Subject.of(Rounded()).gradients
    assert Subject.of(nn.Sequential(twin)).gradients


def test_a_float_file_becomes_a_network_that_can_be_quantized(images, network):
    session = OnnxModel(convolutional())
    torch.testing.assert_close(network(images), session(images), rtol=1e-4, atol=1e-5)
    kinds = [type(step) for step in network.steps]
    assert kinds.count(nn.Conv2d) == 2 and kinds.count(nn.Linear) == 1
    w8a8 = bp.quantize(network, bp.Scheme(weight_bits=8, act_bits=8), images)
    assert correlation(w8a8(images), session(images)) > 0.99


@pytest.mark.parametrize("case", QUANTIZED)
def test_what_onnx_runtime_quantized_is_rebuilt_on_its_own_grids(case, images, network, tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    session = OnnxModel(quantized(convolutional(), images, tmp_path, **options_of(case)))
    form = differentiable(session)
    assert session.scheme is not None and session.scheme.label == "w8a8"
    step = (session(images) - form(images)).abs()
    assert (step.amax(1) < 0.02 * session(images).abs().max()).float().mean() > 0.9  # but for single flips
    assert correlation(form(images), session(images)) > correlation(network(images), session(images))
    assert alike(gradient(form, images), gradient(network, images)) > 0.8


def test_what_is_quantized_while_it_runs_has_gradients_too(images, network, tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    (tmp_path / "float.onnx").write_bytes(convolutional())
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx", op_types_to_quantize=["Conv", "MatMul"])
    session = OnnxModel((tmp_path / "dynamic.onnx").read_bytes())
    form = differentiable(session)
    assert correlation(form(images), session(images)) > 0.99
    assert alike(gradient(form, images), gradient(network, images)) > 0.8
    for model in (session, form):  # the grid of one image has nothing to do with those beside it
        torch.testing.assert_close(model(images), torch.cat([model(image[None]) for image in images]))


def test_activations_in_16_bits_and_averages_of_codes_have_gradients(images, network, tmp_path):
    from onnxruntime.quantization import QuantFormat, QuantType

    options = {"activation_type": QuantType.QUInt16, "weight_type": QuantType.QInt8}
    session = OnnxModel(quantized(convolutional(), images, tmp_path, quant_format=QuantFormat.QDQ, **options))
    assert session.scheme is not None and session.scheme.label == "w8a16"
    assert correlation(differentiable(session)(images), session(images)) > 0.999
    x, one, zero = torch.arange(16.0).view(1, 1, 4, 4), torch.tensor(1.0), torch.tensor(0, dtype=torch.uint8)
    average = INTEGER_OPERATORS["QLinearAveragePool"]
    found = average(x, one, zero, 0.5 * one, zero, kernel_shape=[2, 2], strides=[2, 2])
    assert found.flatten().tolist() == [5.0, 9.0, 21.0, 25.0]  # the means 2.5, 4.5, 10.5 and 12.5 in halves


def test_answers_that_do_not_change_correlate_with_none_but_their_like():
    same, other = torch.zeros(5, 3), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert correlation(same, same + 2) == 1
    assert correlation(same, other) == correlation(other, same) == 0


@pytest.mark.parametrize(
    "shape",
    [
        {"batch": 1},
        {"layout": "nhwc"},
        {"kind": "uint8"},
        {"softmax": True},
        {"extra": True},
        {"batch": 1, "layout": "nhwc", "kind": "uint8", "softmax": True, "extra": True},
    ],
    ids=lambda shape: ", ".join(map(str, shape)),
)
def test_files_are_taken_as_they_take_images_and_give_logits(shape, images, network):
    session = OnnxModel(convolutional(**shape))
    pixels = (255 * images).round() / 255
    expected = network(pixels)
    if shape.get("softmax"):
        expected = expected.log_softmax(1)
    torch.testing.assert_close(session(pixels), expected, rtol=1e-3, atol=1e-4)
    twin = Twin(session)
    torch.testing.assert_close(gradient(twin, pixels), gradient(network, pixels), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "zero_point", "meant"),
    [
        (1 / 255, -128, lambda x: x),
        (1.0, -128, lambda x: 255 * x),
        (2 / 255, 0, lambda x: 2 * x - 1),
        (0.02, -20, lambda x: x),
    ],
)
def test_codes_are_made_by_the_scale_that_the_file_has_for_them(scale, zero_point, meant):
    """The file gives back what its codes stand for: images, or what they are in its range."""
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"]),
        helper.make_node("Flatten", ["x"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "codes",
        [helper.make_tensor_value_info("q", TensorProto.INT8, ["n", 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(np.float32(scale), "s"), numpy_helper.from_array(np.int8(zero_point), "z")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    pixels = torch.tensor([0, 17, 128, 255]).view(1, 1, 2, 2) / 255
    found = OnnxModel(model.SerializeToString())(pixels)
    assert (found - meant(pixels).flatten(1)).abs().max() <= 0.5 * scale + 1e-6 + (0.01 if zero_point == 0 else 0)


def test_pgd_through_a_twin_costs_one_answer_and_one_gradient_a_step(images, network):
    counts = {"session": 0, "other": 0}

    class Counting(nn.Module):
        def __init__(self, inner, key):
            super().__init__()
            self.inner, self.key = inner, key

        def forward(self, images):
            counts[self.key] += len(images)
            return self.inner(images)

    twin = Twin(Counting(OnnxModel(convolutional()), "session"), gradient_from=Counting(network, "other")).eval()
    counted = Counted(twin)
    labels = twin(images).argmax(1)
    counts.update(session=0)
    PGD(eps=1e-6, steps=3)(counted, images, labels, rng=bp.Rng(0, np.arange(len(images))))
    assert counts == {"session": counted.forwards, "other": counted.backwards}


def test_models_that_do_not_belong_together_are_refused_and_mistakes_named(images, network):
    session = OnnxModel(convolutional())
    assert kinship(network, session, images).correlation == pytest.approx(1, abs=1e-6)
    turned = nn.Sequential(nn.Flatten(1), nn.Unflatten(1, (1, 20, 20)), _Transposed(), network)
    found = kinship(turned, session, images)
    assert "height and width exchanged" in found.finding
    torch.manual_seed(0)
    other = nn.Sequential(nn.Flatten(), nn.Linear(400, 10))
    with pytest.raises(InputError, match="the two models are not related"):
        check_twin(Twin(session, gradient_from=other), images)
    with pytest.raises(InputError, match="gives 10 logits, its twin 7"):
        gradient(Twin(session, gradient_from=nn.Sequential(nn.Flatten(), nn.Linear(400, 7))), images)
    with pytest.raises(InputError, match="a session of a runtime has none"):
        Twin(session, gradient_from=session)


class _Transposed(nn.Module):
    def forward(self, images):
        return images.transpose(2, 3)


def test_an_operator_that_is_not_known_is_named():
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("Det", ["x"], ["d"]),
            helper.make_node("Add", ["f", "d"], ["y"]),
        ],
        "det",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(InputError, match="operator 'Det'.*no gradient is known"):
        Twin(OnnxModel(model.SerializeToString()))


def test_attacks_and_the_masking_diagnosis_run_on_a_twin(images):
    mean = OnnxModel(convolutional(weights={"b3": np.zeros(10)}))(images).mean(0).numpy()
    session = OnnxModel(convolutional(weights={"b3": -mean}))  # so that not all images are of one class
    data = bp.load_data("digits", limit=24)
    labels = session(data.images(range(24))).argmax(1).numpy()
    data = bp.from_arrays(data.images(range(24)).numpy(), labels, classes=data.classes)
    twin = Twin(session)
    models = {"network": twin.gradient_from, "twin": twin}
    result = bp.evaluate(models, data, conditions=["pgd:eps=0.5,steps=5"], progress=False)
    table = result.table().set_index(["model", "condition"])["accuracy"]
    assert table["twin", "clean"] == 1.0 and table["twin"].min() < 0.9
    assert table["twin"].equals(table["network"])
    found = bp.diagnose_masking(twin, data, twin=twin.gradient_from, queries=9, draws=3, directions=2, steps=3)
    assert found.attacked == 24
    assert all(cell.model.coverage is None for cell in result.cells if cell.model.name == "twin")


def test_the_gradient_of_a_folded_relu_ends_at_zero(tmp_path):
    """Not one step of the grid before it, as it does at the edges of other grids: steps of few bits are wide."""
    images = torch.rand(48, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
        )
    fake = bp.quantize(net.eval(), bp.Scheme.parse("w4a3,first=same,last=same"), [images])
    form = bp.deploy.integer_form(fake, [images])
    bp.deploy.export_onnx(form, tmp_path / "q.onnx")
    session = bp.deploy.load_onnx(tmp_path / "q.onnx")
    slopes = []
    for model in (fake, form, Twin(session)):
        x = images.clone().requires_grad_()
        slopes.append(torch.autograd.grad(model(x)[:, 0].sum(), x)[0].flatten())
    for slope in slopes[1:]:
        assert torch.cosine_similarity(slope, slopes[0], dim=0) > 0.95
