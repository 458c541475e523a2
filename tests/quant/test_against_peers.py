"""The same codes as independent implementations, where they are installed: ONNX Runtime and Brevitas."""

import numpy as np
import pytest
import torch

from bitproof.quant.codes import Codes
from bitproof.quant.grid import affine_grid, fake_quantize
from bitproof.quant.lsq import learned_step

ODD = [0.0, -0.0, 1e-12, -1e-12, 0.5, -0.5, 1.5, 2.5, -2.5, 1e30, -1e30]
"""In steps of 1: zeros, ties, next to nothing, and far outside the grid."""


def inputs() -> torch.Tensor:
    spread = 3 * torch.randn(4000, generator=torch.Generator().manual_seed(0))
    ties = torch.arange(-300, 300) + 0.5
    return torch.cat([spread, ties, torch.tensor(ODD)])


def onnx_runtime(x: torch.Tensor, scale: float, zero_point: int, codes: Codes) -> torch.Tensor:
    onnx = pytest.importorskip("onnx", reason="needs the extra 'deploy'")
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra 'deploy'")
    helper, types = onnx.helper, onnx.TensorProto
    kind = np.uint8 if codes.qmin == 0 else np.int8
    constants = [
        onnx.numpy_helper.from_array(np.array(value, dtype), name)
        for name, value, dtype in (("s", scale, np.float32), ("z", zero_point, kind))
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    x_info, y_info = (helper.make_tensor_value_info(name, types.FLOAT, [None]) for name in "xy")
    graph = helper.make_graph(nodes, "quantize", [x_info], [y_info], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("reach", [0.37, 1.0, 4.2, 100.0])
def test_eight_bit_grids_equal_onnx_runtimes(symmetric, reach):
    codes = Codes.of(8, symmetric=symmetric)
    scale, zero_point = affine_grid(torch.tensor(-0.4 * reach), torch.tensor(reach), codes, symmetric=symmetric)
    x = inputs() * scale
    x = x[torch.isfinite(x)]
    ours = fake_quantize(x, scale, zero_point, codes)
    theirs = onnx_runtime(x, scale.item(), int(zero_point), codes)
    if symmetric:  # its code -128 has no counterpart in a symmetric grid
        theirs = theirs.clamp(min=codes.qmin * scale.item())
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("signed", [True, False])
def test_learned_steps_equal_onnx_runtimes(signed):
    codes = Codes(qmin=-128, qmax=127) if signed else Codes(qmin=0, qmax=255)
    x = inputs() * 0.0173
    assert torch.equal(learned_step(x, torch.tensor(0.0173), codes), onnx_runtime(x, 0.0173, 0, codes))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_grids_equal_brevitas(bits, symmetric):
    pytest.importorskip("brevitas", reason="Brevitas is compared with where it is installed")
    from brevitas.core.function_wrapper import RoundSte, TensorClamp
    from brevitas.core.quant import IntQuant

    codes = Codes.of(bits, symmetric=symmetric)
    scale, zero_point = affine_grid(torch.tensor(-0.7), torch.tensor(1.9), codes, symmetric=symmetric)
    x = inputs() * scale
    x = x[x.abs() < 1e6]
    if not symmetric:  # Brevitas rounds after it adds the zero point, so an odd one turns ties the other way
        x = x[((x / scale) % 1 - 0.5).abs() > 1e-3]
    quantizer = IntQuant(
        signed=symmetric,
        narrow_range=symmetric,
        input_view_impl=torch.nn.Identity(),
        float_to_int_impl=RoundSte(),
        tensor_clamp_impl=TensorClamp(),
    )
    theirs = quantizer(scale, zero_point, torch.tensor(float(bits)), x)
    torch.testing.assert_close(fake_quantize(x, scale, zero_point, codes), theirs, rtol=1e-6, atol=0)
