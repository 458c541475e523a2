"""timm and torchvision, beside a CPU-only torch too, and without any download."""

import sys
from importlib.util import find_spec

import pytest
import torch

from bitproof.core.torchvision_ops import SCHEMAS, BeforeTorchvision
from bitproof.errors import InputError
from bitproof.models import build_model
from bitproof.models.spec import IMAGENET_MEAN

needs_zoo = pytest.mark.skipif(
    find_spec("timm") is None or find_spec("torchvision") is None, reason="the extra `zoo` is not installed"
)


@needs_zoo
def test_torchvision_imports_wherever_it_is_imported_first():
    import torchvision.models  # noqa: F401 - fails beside a CPU-only torch unless the operators are declared

    assert all(hasattr(torch.ops.torchvision, name) for name in SCHEMAS)
    waiting = BeforeTorchvision()
    sys.meta_path.insert(0, waiting)
    assert waiting.find_spec("json") is None and waiting in sys.meta_path
    assert waiting.find_spec("torchvision") is None and waiting not in sys.meta_path  # declaring twice is harmless


@pytest.mark.parametrize(
    ("name", "size", "mean"),
    [
        ("timm:resnet18", 64, IMAGENET_MEAN),
        ("timm:test_vit.r160_in1k", 160, (0.5, 0.5, 0.5)),
        ("torchvision:squeezenet1_1", 64, IMAGENET_MEAN),
    ],
)
@needs_zoo
def test_zoo_models_are_built_with_their_normalisation(name, size, mean):
    model = build_model(name)
    assert model.normalize.mean.flatten().tolist() == pytest.approx(mean)
    assert model(torch.rand(1, 3, size, size)).shape == (1, 1000) and not model.training
    assert build_model(name, classes=7)(torch.rand(1, 3, size, size)).shape == (1, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:resnet19", r"unknown timm model 'resnet19': timm knows [\d,]+ classifiers, near it .*resnet18"),
        ("timm:resnet18.no_such_tag", r"unknown timm model 'resnet18.no_such_tag'"),
        ("timm:hf-hub:someone/model", r"unknown timm model 'hf-hub:someone/model'"),
        ("torchvision:mobilenet_v9", r"unknown torchvision model 'mobilenet_v9'.*mobilenet_v2.*exactly as the package"),
        ("torchvision:fcn_resnet50", r"unknown torchvision model 'fcn_resnet50'"),  # no classifier
    ],
)
@needs_zoo
def test_unknown_zoo_models_are_named(name, message):
    with pytest.raises(InputError, match=message):
        build_model(name)


@pytest.mark.parametrize(("name", "package"), [("timm:resnet18", "timm"), ("torchvision:alexnet", "torchvision")])
def test_a_missing_extra_is_explained(name, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"{package} is not installed.*pip install 'bitproof\[zoo\]'"):
        build_model(name)
