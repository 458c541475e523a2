"""Conditions that showed the same pixels are named."""

from dataclasses import replace

import numpy as np

from report_cells import N, grid
from report_page import one


def test_conditions_that_showed_the_same_pixels_are_named(tmp_path, page):
    seen = np.arange(1, N + 1, dtype=np.uint64)  # 0 stands for an image that was not made
    digests = {
        "clean": seen,
        "resize box": seen,
        "resize area": np.where(seen < 6, seen, seen + 1000).astype(np.uint64),
    }
    cells = [replace(c, digests=digests.get(c.condition.label)) for c in grid()]
    sentences = [item.text for item in one(tmp_path, cells).all("li")]
    assert sentences == [
        f"resize box gave the same pixels as clean on all {N} images.",
        f"resize area gave the same pixels as clean on 5 of {N} images.",
    ]
    assert not page.all("li")  # nothing was recorded there
