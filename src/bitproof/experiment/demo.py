"""The main job in one piece, on data that ships with scikit-learn."""

from pathlib import Path

from bitproof.core.copying import moved
from bitproof.core.memory import keep_freed_memory
from bitproof.core.rng import Rng
from bitproof.data import load_data
from bitproof.experiment.experiment import evaluate
from bitproof.experiment.results import Result
from bitproof.models import build_model
from bitproof.quant import Scheme, quantize
from bitproof.runner.progress import Progress
from bitproof.train import standard


def run_demo(*, store: str | Path | None = None, device: str | None = None, progress: bool = True) -> Result:
    """Train a small network on the digits, quantize it to 8, 4 and 2 bits, and test all four.

    Args:
        store: a file that keeps the results; None keeps them in memory.
        device: where to train and test, e.g. "cuda" or "auto"; None = on the CPU.
        progress: show what is being done and how long is left.

    Returns:
        The result on the 449 held-out digits; its reference is the float model.
    """
    keep_freed_memory()
    train = load_data("digits", split="train")
    recipe = standard(epochs=20)
    seed = Rng.of(0)
    with Progress(recipe.work(len(train)), enabled=progress) as bar:
        bar.start("training the float model")
        model = recipe(moved(build_model("digits_cnn"), device), train, rng=seed, advance=bar.advance)
    schemes = {bits: Scheme("affine", weight_bits=bits, act_bits=bits) for bits in (8, 4, 2)}
    models = {"float": model} | {s.label: quantize(model, s, train) for s in schemes.values()}
    return evaluate(models, load_data("digits", split="test"), suite="demo", store=store, progress=progress)
