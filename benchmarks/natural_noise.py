"""Float, int8 and int4 under natural and systematic noise, and whether the ranking of Xiao et al. 2023 holds here.

python benchmarks/natural_noise.py CIFAR10_ROOT RESNET20 IMAGENET_ROOT SQUEEZENET [N] [STORE]

Corruptions: ResNet-20 on N test images of CIFAR-10, all 15 at five severities. Systematic noise starts from files, so
it is measured with SqueezeNet 1.0 on ImageNet JPEGs. 4 bits have OMSE ranges for activations. A STORE keeps the cells.
"""

import sys
from dataclasses import replace
from statistics import mean

import bitproof as bp
from bitproof.core.memory import keep_freed_memory
from common import record

SCHEMES = {
    "w8a8": bp.Scheme(weight_bits=8, act_bits=8),
    "w4a4": bp.Scheme(bp.quant.Affine(act_range="omse"), weight_bits=4, act_bits=4),
}
CALIBRATION = 40
"""Images of the ImageNet folder that calibrate and are not tested on."""
METRICS = ("mnr", "nci", "sr", "sni")


def measure(model, data, calibration, suite, store):
    """Accuracy in percent by condition's group and model, and the metrics of the suite."""
    models = {"float": model, **{name: bp.quantize(model, scheme, calibration) for name, scheme in SCHEMES.items()}}
    result = bp.evaluate(models, data, suite=suite, store=store)
    table, summary = result.table(), result.summary()
    table["noise"] = table["condition"].where(table["kind"] == "systematic", table["group"])
    accuracy = {
        noise: {name: round(100 * mean(rows.query("model == @name")["accuracy"]), 2) for name in models}
        for noise, rows in table.groupby("noise", sort=False)
    }
    chosen = summary[summary["metric"].isin(METRICS) & (summary["condition"] == "")]
    metrics = {
        name: {row.metric: f"{row.value:.4f} [{row.low:.4f}, {row.high:.4f}]" for row in rows.itertuples()}
        for name, rows in chosen.groupby("model", sort=False)
    }
    return accuracy, metrics


def main(cifar, resnet, imagenet, squeezenet, count=1000, store=None):
    keep_freed_memory()
    test = bp.load_data("cifar10", root=cifar, limit=count)
    train = bp.load_data("cifar10", root=cifar, split="train", limit=512)
    natural, of_natural = measure(bp.load_model("resnet20", weights=resnet), test, train, "imagenet-c", store)
    files = bp.load_data("imagenet", root=imagenet)
    model = bp.load_model("torchvision:squeezenet1_0", weights=squeezenet)
    first, rest = (
        replace(files, files=files.files[part], labels=files.labels[part])
        for part in (slice(CALIBRATION), slice(CALIBRATION, None))
    )
    systematic, of_systematic = measure(model, rest, first, "robustmq-systematic", store)
    clean, jpegs = natural.pop("clean"), systematic.pop("clean")
    resizes = {name: values for name, values in systematic.items() if name.startswith("resize")}
    claims = {
        f"{name}: {question}": {"xiao2023": expected, "measured": found}
        for name in clean
        for question, expected, found in (
            ("worst corruption", "impulse-noise", min(natural, key=lambda noise: natural[noise][name])),
            ("mildest corruption", "brightness", max(natural, key=lambda noise: natural[noise][name])),
            ("worst resize", "nearest", min(resizes, key=lambda mode: resizes[mode][name])),
        )
    }
    claims["clean, %"] = {"cifar10": clean, "imagenet": jpegs}
    claims["corruptions, %, mean over severities"] = natural
    claims["systematic, %"] = systematic
    claims["metrics of corruptions"] = of_natural
    claims["metrics of systematic noise"] = of_systematic
    record("natural_noise", claims, {"cifar10 images": len(test), "imagenet images": len(rest)})


if __name__ == "__main__":
    main(*sys.argv[1:5], *map(int, sys.argv[5:6]), *sys.argv[6:])
