"""How fast the corruptions are, against `imagecorruptions`, one image of 224x224 at a time on one thread.

The package is measured as it is on PyPI (1.1.2) and as its repository's head is, which differs where time goes: the
loop of glass blur is compiled by Numba. Needs `pip install imagecorruptions scikit-image numba "setuptools<81"`, and
a shim on current NumPy and scikit-image, put in place here.
"""

import statistics
import time

import cv2
import numpy as np
import skimage.data
import skimage.filters
import torch
from PIL import Image

from common import record, rotate

np.float_ = np.float64  # removed from NumPy 2
blur = skimage.filters.gaussian
skimage.filters.gaussian = lambda image, sigma=1, multichannel=False, **rest: blur(
    image, sigma, channel_axis=-1 if multichannel else None, **rest
)
from imagecorruptions import corruptions as package  # noqa: E402
from numba import njit  # noqa: E402

from bitproof.core.memory import keep_freed_memory  # noqa: E402
from bitproof.core.rng import Rng  # noqa: E402
from bitproof.shifts import IMAGENET_C  # noqa: E402

BATCH = 8
ROUNDS = 5


@njit
def shuffle(pixels: np.ndarray, reach: int, rounds: int) -> None:
    height, width = pixels.shape[:2]
    for _ in range(rounds):
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                pixels[h, w] = pixels[h + np.random.randint(-reach, reach), w + np.random.randint(-reach, reach)]


def head_glass_blur(image: Image.Image, severity: int) -> np.ndarray:
    """Glass blur with a compiled loop, the rest as in the package."""
    sigma, reach, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    pixels = np.uint8(package.gaussian(np.array(image) / 255.0, sigma=sigma, multichannel=True) * 255)
    shuffle(pixels, reach, rounds)
    return np.clip(package.gaussian(pixels / 255.0, sigma=sigma, multichannel=True), 0, 1) * 255


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    keep_freed_memory()  # as every experiment does
    picture = Image.fromarray(skimage.data.astronaut()).resize((224, 224), Image.Resampling.BOX)
    images = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].expand(BATCH, 3, 224, 224).clone()
    rng = Rng(seed=0, ids=np.arange(BATCH))
    milliseconds: dict[str, dict[str, list[float]]] = {}
    for name, build in IMAGENET_C.items():
        function = getattr(
            package, {"jpeg": "jpeg_compression", "elastic": "elastic_transform"}.get(name, name.replace("-", "_"))
        )
        columns: dict[str, list[float]] = {"bitproof": [], "head": [], "pypi": []}
        for severity in range(1, 6):
            ours = build(severity=severity, profile="hendrycks-224")
            alternatives = {"bitproof": lambda c=ours: c(images, rng=rng)}
            alternatives["head"] = lambda f=function, s=severity: np.uint8(f(picture, s))
            if name == "glass-blur":
                alternatives["head"] = lambda s=severity: np.uint8(head_glass_blur(picture, s))
            times = rotate(alternatives, repeats=ROUNDS, clock=time.thread_time)
            if name == "glass-blur":
                pypi = {"pypi": lambda f=function, s=severity: np.uint8(f(picture, s))}  # seconds a picture: once
                times |= rotate(pypi, repeats=1, warmup=0, clock=time.thread_time)
            times.setdefault("pypi", times["head"])
            for column, values in columns.items():
                each = BATCH if column == "bitproof" else 1
                values.append(round(1000 * statistics.median(times[column]) / each, 3))
        milliseconds[name] = columns
        print(name, columns)
    total = {c: sum(sum(columns[c]) for columns in milliseconds.values()) for c in ("bitproof", "head", "pypi")}
    slowest = max(milliseconds, key=lambda name: milliseconds[name]["bitproof"][2])
    claims = {
        "throughput over 15 corruptions and 5 severities, times the repository's head": {
            "goal": "at least 5",
            "measured": round(total["head"] / total["bitproof"], 1),
        },
        "the same, times the PyPI package": {
            "goal": "at least 40",
            "measured": round(total["pypi"] / total["bitproof"], 1),
        },
        "slowest corruption at severity 3, ms an image": {
            "goal": "at most 5",
            "measured": milliseconds[slowest]["bitproof"][2],
            "which": slowest,
        },
        "images a second over all": {c: round(75_000 / value, 1) for c, value in total.items()},
    }
    conditions = {
        "image": "scikit-image's astronaut, 224x224, uint8",
        "batch": BATCH,
        "rounds": ROUNDS,
        "threads": 1,
        "clock": "thread CPU time",
        "milliseconds an image, severities 1 to 5": milliseconds,
    }
    record("corruptions", claims, conditions)


if __name__ == "__main__":
    main()
