"""One explanation of each kind, small and with known numbers, to test storage and presentation with."""

from typing import Any

import numpy as np

from bitproof.records import (
    Agreement,
    Alignment,
    Amplification,
    Attribution,
    Change,
    ClassClusters,
    Clusters,
    Curvature,
    DataRecord,
    Explained,
    LayerEffect,
    LayerNorm,
    LayerSharpness,
    LayerTrace,
    Lipschitz,
    LossSlice,
    ModelRecord,
    Sharpness,
    ValueShift,
)


def make_explanations(model: ModelRecord, other: ModelRecord, data: DataRecord, seed: int = 0) -> dict[str, Explained]:
    """By kind; of `model`, beside `other` where there are two."""
    common: dict[str, Any] = {"model": model, "data": data, "seed": seed, "setting": {"type": "Look", "draws": 9}}
    common |= {"forwards": 20.5, "backwards": 5, "seconds": 1.0, "others": (other,)}
    levels = {"agreement": 0.5, "accuracy": 0.6, "robust": 0.1}
    found: list[Explained] = [
        Attribution(
            **common,
            way="float",
            turned="both",
            attack="pgd-10 linf 1/255",
            count=90,
            base=levels,
            whole={"agreement": 1.0, "accuracy": 0.9, "robust": 0.2},
            layers=tuple(
                LayerEffect(
                    name=name,
                    place=place,
                    weight_bits=4,
                    act_bits=3,
                    agreement=Change(
                        value=0.4 - 0.3 * place, low=0.3 - 0.3 * place, high=0.5, p_holm=0.001 + 0.5 * place
                    ),
                    accuracy=Change(value=0.25, low=0.2, high=0.3, p_holm=0.04),
                    robust=Change(value=-0.05, low=-0.1, high=0.01, p_holm=0.5),
                )
                for place, name in enumerate(("deep", "shallow"))
            ),
            repeats=3.5,
        ),
        Alignment(
            **common,
            cosines=np.array([[[1, 0.5], [0.5, 1]], [[1, 0.25], [0.25, 1]]]),
            low=np.array([[[1, 0.4], [0.4, 1]], [[1, 0.2], [0.2, 1]]]),
            high=np.array([[[1, 0.6], [0.6, 1]], [[1, 0.3], [0.3, 1]]]),
            pairs=np.array([[[90, 83], [83, 83]], [[90, 90], [90, 90]]]),
            zeros=np.array([[0, 7], [0, 0]]),
            count=90,
        ),
        Agreement(
            **common,
            attack="bim-5 linf 8/255",
            same=np.array([[[90, 81], [81, 90]], [[90, 45], [45, 90]], [[90, 36], [36, 90]]]),
            wrong=np.array([[[9, 6], [6, 12]], [[90, 40], [40, 45]], [[30, 28], [28, 90]]]),
            alike=np.array([[[9, 3], [3, 12]], [[90, 20], [20, 45]], [[30, 12], [12, 90]]]),
            majorities=(2,),
            answered=np.array([[81], [45], [36]]),
            fooled=np.array([[3], [20], [12]]),
            count=90,
        ),
        Amplification(
            **common,
            layers=("one", "two", "logits"),
            eps=(1 / 255, 8 / 255),
            sums=np.array([[[1, 2, 8], [2, 4, 16]], [[1, 1, 2], [2, 2, 4]]]) / 100,
            means=np.full((2, 2, 3), 0.5),
            errors=np.full((2, 2, 3), 0.25),
            count=90,
        ),
        ValueShift(
            **common,
            layers=("one", "two"),
            attack="fgsm linf 4/255",
            shares=np.array([[[0.5, 0.5], [0.1, 0.3], [0.4, 0.2], [0.05, 0.05]]] * 2),
            count=90,
        ),
        Lipschitz(
            **common,
            layers=(LayerNorm(name="one", matrix=1.5, operator=2.5, folded=5.0),),
            bound=1e6,
            unknown=("softmax",),
            local=20.0,
            largest=40.0,
            count=90,
        ),
        Curvature(
            **common,
            loss=0.5,
            trace=100.0,
            trace_error=2.0,
            trace_image_error=10.0,
            top=20.0,
            top_error=3.0,
            steps=7,
            converged=True,
            layers=(LayerTrace(name="one", parameters=50, trace=100.0, error=2.0),),
            count=90,
        ),
        Sharpness(
            **common,
            loss=0.5,
            layers=(
                LayerSharpness(name="one", norm=2.0, along=0.75, random=(0.125, 0.25)),
                LayerSharpness(name="all layers", norm=2.0, along=0.5, random=(0.25, 0.75)),
            ),
        ),
        LossSlice(
            **common,
            ways=(-0.1, 0.0, 0.1),
            losses=np.array([[0.1, 0.2, 0.1], [0.5, 0.5, 0.75], [2.0, 3.0, 2.0]]),
            wrong=np.array([[0, 0, 0], [0.1, 0.1, 0.2], [0.9, 0.8, 0.9]]),
            count=90,
        ),
        Clusters(
            **common,
            layer="last",
            trigger="corner-square trigger to 1",
            target=1,
            shown=8,
            classes=(
                ClassClusters(number=0, count=40, marked=1, silhouette=0.125, smaller=16, caught=0),
                ClassClusters(number=1, count=50, marked=5, silhouette=0.5, smaller=6, caught=4),
            ),
            count=90,
        ),
    ]
    return {record.KIND: record for record in found}
