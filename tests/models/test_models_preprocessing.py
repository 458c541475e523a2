"""What the zoos say of a network's preprocessing is what its images get."""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

import bitproof as bp
from bitproof.models import preprocessing

pytestmark = pytest.mark.skipif(find_spec("timm") is None, reason="the extra `zoo` is not installed")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("timm:vit_base_patch16_224", {"size": 224, "shorter": 248, "resize": "pillow-cubic"}),
        ("torchvision:squeezenet1_0", {"size": 224, "shorter": 256, "resize": "pillow-bilinear"}),
        ("torchvision:mobilenet_v2", {"size": 224, "shorter": 232, "resize": "pillow-bilinear"}),
        ("resnet20", {}),
    ],
)
def test_preprocessing_is_the_zoos_own(name, expected):
    assert preprocessing(name) == expected


def test_images_are_those_of_timms_own_transform(tmp_path):
    import timm.data

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8))
    for label in "ab":
        (tmp_path / label).mkdir()
        picture.save(tmp_path / label / "1.png")
    options = preprocessing("timm:vit_base_patch16_224")
    ours = bp.load_data("folder", root=tmp_path, **options).images([0])[0]
    transform = timm.data.create_transform(
        input_size=(3, 224, 224), crop_pct=0.9, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1)
    )
    assert np.abs(transform(picture).numpy() - ours.numpy()).max() < 1e-6  # pyright: ignore


def test_a_command_says_what_it_took_and_another_size_keeps_the_part_of_the_picture(run, tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.new("RGB", (90, 70)).save(tmp_path / label / "1.png")
    command = ["evaluate", "torchvision:squeezenet1_1", "--classes", 2, "--data", f"folder:{tmp_path}"]
    code, _, err = run(*command, "--suite", "clean", "--input-size", 64)
    assert code == 0, err
    assert "IMAGENET1K_V1: mean=[0.485, 0.456, 0.406]" in err and "64 pixels cut from 73, pillow-bilinear" in err
    code, _, err = run(*command, "--input-size", 64, "--data", "digits")
    assert code == 2 and "the images of digits have one size" in err
