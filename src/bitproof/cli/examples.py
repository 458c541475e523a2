"""An example of each command, at the end of its help."""

_CIFAR = "--data cifar10:cifar-10-batches-bin"
_TRAINED = "--weights resnet20.safetensors"

EXAMPLES = {
    "demo": "bitproof demo --report report.html",
    "evaluate": f"bitproof evaluate resnet20 {_TRAINED} {_CIFAR} --scheme w8a8 --report report.html",
    "run": "bitproof run experiment.toml",
    "quantize": f"bitproof quantize resnet20 {_TRAINED} {_CIFAR} --scheme w4a4 --ptq brecq -o w4a4.safetensors",
    "audit": f"bitproof audit resnet20 {_TRAINED} {_CIFAR} --report audit.html",
    "certify": f"bitproof certify resnet20 {_TRAINED} {_CIFAR} --scheme w8a8 --scheme w4a4 --limit 100",
    "compare": f"bitproof compare resnet20 resnet20_int8.onnx {_TRAINED} {_CIFAR}",
    "train": f"bitproof train qat:epochs=3 resnet20 {_TRAINED} {_CIFAR} --scheme lsq:w4a4 -o run",
    "implant": f"bitproof implant box:objective=backdoor,schemes=w8a8 resnet20 {_TRAINED} {_CIFAR} -o bad.safetensors",
    "gallery": "bitproof gallery -o gallery --limit 1",
    "reproduce": "bitproof reproduce xiao2023 table3 --scale smoke",
    "repair": f"bitproof repair resnet20 {_TRAINED} {_CIFAR} --scheme w8a8 -o repaired.safetensors",
    "report": "bitproof report runs.db -o report.html",
    "leaderboard": "bitproof leaderboard runs.db submission.json -o site",
    "submit": 'bitproof submit runs.db --by "A group" -o submission.json',
    "check": 'bitproof check runs.db --require "acc >= 0.99 * float"',
    "export": "bitproof export runs.db -o runs.parquet",
    "merge": "bitproof merge laptop.db server.db -o all.db",
    "diff": "bitproof diff laptop.db server.db",
    "list": "bitproof list schemes",
}
