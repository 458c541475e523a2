"""How far each axis of systematic noise moves the pixels that a model sees, in grey levels, on real photographs.

    python benchmarks/systematic.py FOLDER

FOLDER holds JPEG files as cameras or data sets wrote them, in one sub-folder a class. The model's input is 224x224.
"""

import sys
from pathlib import Path

import numpy as np

import bitproof as bp
from bitproof.conditions.suites import systematic
from bitproof.pictures.ffmpeg import _frame
from bitproof.shifts import Pipeline
from common import record


def main(root: Path) -> None:
    data = bp.load_data("folder", root=root)
    files = [data.encoded(row) for row in range(len(data))]
    layouts = [_frame(encoded).format.name for encoded in files]
    subsampled = np.array([name.startswith(("yuvj42", "yuvj41")) for name in layouts])
    reference = np.stack([Pipeline()(encoded, framing=data.framing) for encoded in files]).astype(np.int16)
    claims = {}
    for condition in systematic(data):
        if not isinstance(condition, Pipeline) or condition == Pipeline():
            continue
        pictures = np.stack([condition(encoded, framing=data.framing) for encoded in files])
        delta = np.abs(pictures - reference).reshape(len(files), -1)
        claims[condition.label] = {
            "mean": round(float(delta.mean()), 3),
            "mean where chroma is subsampled": round(float(delta[subsampled].mean()), 3),
            "largest": int(delta.max()),
            "images equal": int((delta == 0).all(1).sum()),
        }
    counts = {name: layouts.count(name) for name in sorted(set(layouts))}
    record("systematic", claims, {"images": len(files), "layouts": counts, "reference": Pipeline().label})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
