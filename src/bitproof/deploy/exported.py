"""Programs that `torch.export` saved (.pt2), as PT2E quantization makes them: opened only where they are trusted.

torch's loader unpickles parts of such a file and evaluates names in it, and nothing turns that off: whoever wrote the
file can run code. So a word of the user is asked for each time.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.fx.graph import CodeGen

from bitproof.deploy.formats import filled
from bitproof.deploy.needs import content_of
from bitproof.errors import InputError
from bitproof.reading import refusing


class Exported(nn.Module):
    """A saved program as a model: images [n, c, h, w] in [0, 1] to logits, for any n.

    Its operators on codes round without a straight-through gradient, so attacks that follow gradients need a twin.

    Args:
        path: the file, which can run code.
    """

    differentiable: ClassVar[bool] = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        rule, remedy = "it is a program that torch.export.save wrote", "Save it again with this version of torch"
        with refusing(path, rule=rule, remedy=remedy), warnings.catch_warnings(), _unsaid():
            warnings.simplefilter("ignore")
            program: Any = torch.export.load(str(path))
            self.program = _plain(program.module())
            self.batch = _fixed_batch(program)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Any:
        if self.batch is None or len(images) == self.batch:
            return self.program(images)
        return torch.cat([self.program(full)[:count] for full, count in filled(images, self.batch)])


@contextmanager
def _unsaid() -> Iterator[None]:
    """torch's loader logs the traceback of its first way to read a file, before it tries another."""
    log = logging.getLogger("torch.export")
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before


def load_exported(path: str | Path, *, trust: bool = False) -> Exported:
    """Open a saved program as a model under test.

    Args:
        path: the file.
        trust: whether whoever wrote it may run code here.

    Raises:
        InputError: it is not trusted, is missing, or is no such program.
    """
    content_of(path, "program")
    if not trust:
        raise InputError(
            f"{str(path)!r} is a program of torch.export",
            rule="torch runs code that such a file brings, so it is opened only where you trust who wrote it",
            remedy="Add --trust (trust=True), or save its weights as safetensors, or export it to ONNX",
        )
    return Exported(Path(path))


def _plain(module: Any) -> fx.GraphModule:
    """The program as a module like any other, which can be copied and put into eval mode."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":  # a check that the input has the shape of the example
            module.graph.erase_node(node)
    module.graph.set_codegen(CodeGen())  # plain arguments, in the place of nested ones
    output = module.graph.output_node()
    (output.args,) = output.args
    return fx.GraphModule(module, module.graph).eval()


def _fixed_batch(program: Any) -> int | None:
    """Of how many images a program was saved for; None = any number."""
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.target in program.graph_signature.user_inputs:
            size = node.meta["val"].shape[0]
            return size if isinstance(size, int) else None
    return None
