"""Examples as conditions see them."""

import numpy as np

import bitproof as bp
from bitproof.data import Examples


def test_pictures_are_moved_before_they_are_cut(tmp_path):
    """A white file of 60 pixels, cut to 32 of 40: a turn by 15 degrees leaves the frame white."""
    from PIL import Image

    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((60, 60, 3), 255, np.uint8)).save(tmp_path / "a" / "x.png")
    data = bp.load_data("folder", root=tmp_path, classes=["a"], size=35)
    examples = Examples(data=data, rows=np.arange(1), images=data.images([0]))
    assert examples.uncut().shape == (1, 3, 40, 40)
    assert data.images([0]).shape == (1, 3, 35, 35)
