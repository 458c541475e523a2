"""The same pixels as `imagecorruptions` 1.1.2, given the same draws, where its definition is ImageNet-C's.

It is not a dependency: these tests are skipped without it. To run them: `pip install imagecorruptions scikit-image
"setuptools<81"`. It needs a shim on current NumPy and scikit-image, which the fixture puts in place.

Intended differences, each of them shared with ImageNet-C:
- zoom blur and snow keep the centre of an enlarged picture, the package its top left corner;
- the flakes of snow are cut to whole grey levels before they are streaked;
- pixelate enlarges with a box filter, the package takes the nearest pixel;
- elastic has an affine part and other amounts (see `test_digital.py` for the whole definition);
and by bitproof:
- frost takes procedural textures or the user's, at their own size, where the package enlarges its photographs by 1.1;
- motion blur repeats the edge where the line is longer than the picture, where the package leaves it dark.
"""

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    package = pytest.importorskip("imagecorruptions", exc_type=ImportError)
    data = pytest.importorskip("skimage.data")
    filters = pytest.importorskip("skimage.filters")
from imagecorruptions import corruptions as reference

from bitproof.shifts import CORRUPTIONS
from bitproof.shifts.base import Corruption

FIXED = ("defocus-blur", "brightness", "contrast", "jpeg", "gaussian-blur", "saturate")
DRAWN = ("gaussian-noise", "speckle-noise", "impulse-noise", "glass-blur", "motion-blur")
DRAWN += ("zoom-blur", "snow", "fog", "spatter")
NAMES = {"jpeg": "jpeg_compression"}


def photographs() -> list[np.ndarray]:
    """Three of scikit-image and, beside some checkouts, three of ImageNet; uint8 [224, 224, 3]."""
    sample = Path(__file__).resolve().parents[3] / "shared" / "data" / "imagenet_sample"
    pictures = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea")]
    pictures += [np.asarray(Image.open(f).convert("RGB")) for f in sorted(sample.rglob("*.JPEG"))[::80]]
    return [np.asarray(Image.fromarray(p).resize((224, 224), Image.Resampling.BOX)) for p in pictures]


class Recorder(np.random.Generator):
    """A generator that remembers what it drew, in order."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.Philox(seed))
        self.drawn: list = []

    def _remember(self, value):
        self.drawn.append(np.copy(value))
        return value

    def standard_normal(self, *arguments):
        return self._remember(super().standard_normal(*arguments))

    def random(self, *arguments):
        return self._remember(super().random(*arguments))

    def uniform(self, *arguments):
        return self._remember(super().uniform(*arguments))

    def integers(self, *arguments):
        return self._remember(super().integers(*arguments))


@pytest.fixture
def shim(monkeypatch):
    """What the package needs to run, and ImageNet-C's way to crop an enlarged picture."""
    blur = filters.gaussian
    monkeypatch.setattr(np, "float_", np.float64, raising=False)

    def gaussian(image, sigma=1, multichannel=False, **keywords):
        return blur(image, sigma, channel_axis=-1 if multichannel else None, **keywords)

    def clipped_zoom(picture, factor, enlarged=reference.clipped_zoom):
        side = picture.shape[0]
        result = enlarged(picture, factor)
        top = (len(result) - side) // 2
        return result[top : top + side, top : top + side]

    monkeypatch.setattr(reference, "gaussian", gaussian)
    monkeypatch.setattr(reference, "clipped_zoom", clipped_zoom)
    return monkeypatch


def serve(monkeypatch, name: str, drawn: list, picture: np.ndarray, hit: float) -> None:
    """Make NumPy's global generator give the package what bitproof drew."""
    height, width = picture.shape[:2]
    queue = list(drawn)
    if name == "snow":  # the package draws the whole field and uses its centre
        small, field = queue[0], np.zeros((height, width))
        top, left = ((a - b) // 2 for a, b in zip((height, width), small.shape, strict=True))
        field[top : top + small.shape[0], left : left + small.shape[1]] = small
        queue[0] = field
    if name == "fog":  # three fields a level, [0, 1)
        queue = [field for level in queue for field in level]
    if name == "glass-blur":  # one pixel at a time, from the bottom right
        queue = [offset for offsets in queue for offset in offsets.reshape(2, -1).T[::-1]]
    if name == "impulse-noise":  # which values are hit, and whether they become white
        queue = [queue[0].astype(np.float64), np.where(queue[0] < hit / 2, 0.0, 1.0)]  # below a half: white
    values = iter(queue)
    monkeypatch.setattr(np.random, "normal", lambda loc=0.0, scale=1.0, size=None: loc + scale * next(values))
    monkeypatch.setattr(np.random, "randint", lambda low, high, size: next(values))
    monkeypatch.setattr(np.random, "default_rng", lambda seed: SimpleNamespace(random=lambda size: next(values)))

    def uniform(low, high, size=None):
        return low + (high - low) * next(values) if name == "fog" else next(values)

    monkeypatch.setattr(np.random, "uniform", uniform)


def levels_apart(corruption: Corruption, name: str, monkeypatch, pixels: np.ndarray, seed: int) -> np.ndarray:
    """|bitproof - package| in grey levels, value by value, both before they are cut to 8 bits."""
    recorder = Recorder(seed)
    ours = corruption.corrupt(pixels.astype(np.float32) / 255, recorder).clip(0, 1) * 255
    with monkeypatch.context() as patched:
        serve(patched, name, recorder.drawn, pixels, (0.03, 0.06, 0.09, 0.17, 0.27)[corruption.severity - 1])
        function = getattr(reference, NAMES.get(name, name.replace("-", "_")))
        theirs = np.asarray(function(Image.fromarray(pixels), corruption.severity), np.float64)
    return np.abs(ours - theirs)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", FIXED)
def test_deterministic_corruptions(name, severity, shim):
    for pixels in photographs():
        apart = levels_apart(CORRUPTIONS[name](severity=severity, profile="hendrycks-224"), name, shim, pixels, 0)
        assert np.quantile(apart, 0.999) <= 1, apart.max()


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", DRAWN)
def test_random_corruptions_with_the_same_draws(name, severity, shim):
    pixels = photographs()[severity % 3]
    pixels = pixels[:96, :96] if name == "glass-blur" else pixels  # the package takes seconds for a whole picture
    apart = levels_apart(CORRUPTIONS[name](severity=severity, profile="hendrycks-224"), name, shim, pixels, severity)
    assert np.quantile(apart, 0.999) <= 1.001, apart.max()  # snow is cut to whole levels, which lie 1 or 2 apart


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_shot_noise_in_distribution(severity, shim):
    pixels = photographs()[0]
    shot = CORRUPTIONS["shot-noise"](severity=severity, profile="hendrycks-224")
    generator = np.random.Generator(np.random.Philox(2))
    ours = np.stack([shot.corrupt(pixels.astype(np.float32) / 255, generator).clip(0, 1) for _ in range(24)])
    np.random.seed(0)
    theirs = np.stack([reference.shot_noise(Image.fromarray(pixels), severity) / 255 for _ in range(24)])
    error = (theirs.std(0) / 24**0.5).mean() / pixels.size**0.5
    assert abs(ours.mean() - theirs.mean()) < 6 * error
    assert ours.var(0).mean() == pytest.approx(theirs.var(0).mean(), rel=0.01)
    spectra = [(np.abs(np.fft.fft2((r - r.mean(0))[..., 0])) ** 2).mean(0) for r in (ours, theirs)]
    bands = [np.log(s.reshape(8, 28, 8, 28).mean((1, 3))) for s in spectra]
    assert np.abs(bands[0] - bands[1]).max() < 0.15
