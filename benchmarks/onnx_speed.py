"""How fast ONNX Runtime is on integers, against itself on the float model: throughput over that of float.

python benchmarks/onnx_speed.py CIFAR10_ROOT WEIGHTS [ROUNDS]

Integer products are exact here, as in every test (on processors without VNNI at the price of some speed), and codes of
4 bits are kept in 8. "static" is what ONNX Runtime's own `quantize_static` makes of the float file (QDQ, a scale a
channel, min-max on the same images), opened the same way.
"""

import sys
import tempfile
from pathlib import Path

import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from bitproof.deploy import export_onnx, integer_form, load_onnx
from common import ratio, record, rotate


class Images(CalibrationDataReader):
    def __init__(self, data: bp.Data) -> None:
        self.batches = data.inputs(64)

    def get_next(self) -> dict[str, object] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"input": batch.numpy()}


def main(root: str, weights: str, rounds: int) -> None:
    keep_freed_memory()
    train = bp.load_data("cifar10", root=root, split="train", limit=256)
    model = bp.load_model("resnet20", weights=weights)
    images = next(iter(train.inputs(128)))
    claims = {}
    with tempfile.TemporaryDirectory() as folder:
        files = {"float": Path(folder) / "float.onnx"}
        dynamic = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.onnx.export(model, (images[:2],), dynamo=True, dynamic_shapes=dynamic, verbose=False)
        assert program is not None
        files["float"].write_bytes(program.model_proto.SerializeToString())
        for bits in (8, 4):
            quantized = bp.quantize(model, bp.Scheme(weight_bits=bits, act_bits=bits), train)
            files[f"w{bits}a{bits}"] = Path(folder) / f"w{bits}a{bits}.onnx"
            export_onnx(integer_form(quantized, train), files[f"w{bits}a{bits}"])
        files["static"] = Path(folder) / "static.onnx"
        quantize_static(
            files["float"], files["static"], Images(train), per_channel=True, activation_type=QuantType.QUInt8
        )
        for threads in (1, 2):
            torch.set_num_threads(threads)
            sessions = {name: load_onnx(path) for name, path in files.items()}
            for batch in (128, 1):
                repeat = max(1, 32 // batch)
                runs = {
                    n: lambda s=s, b=batch, k=repeat: [s(images[:b]) for _ in range(k)] for n, s in sessions.items()
                }
                times = rotate(runs, repeats=rounds)
                claims[f"w8a8, batch {batch}, threads {threads}: images/s over static"] = {
                    "goal": ">= 1",
                    "measured": round(1 / ratio(times, "w8a8", "static"), 2),
                }
                for name in ("w8a8", "w4a4"):
                    claims[f"{name}, batch {batch}, threads {threads}: images/s over float"] = {
                        "goal": ">= 2 with VNNI",
                        "measured": round(1 / ratio(times, name, "float"), 2),
                        "float images/s": round(repeat * batch / sorted(times["float"])[rounds // 2]),
                    }
    record("onnx_speed", claims, {"model": "resnet20", "rounds": rounds})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 15)
