"""TensorFlow Lite files of the digits, written by the schema that comes with LiteRT, without a converter."""

import numpy as np

WEIGHT = np.random.default_rng(0).integers(-127, 128, (10, 400)).astype(np.int8)
GRIDS = ((1 / 255, -128), 0.002, (0.15, -3))
"""Scale and zero point of images; scale of the weights; scale and zero point of the logits."""


def linear(*, kind="int8", softmax=False, weight=WEIGHT, grids=GRIDS) -> bytes:
    """Reshape and FullyConnected, in int8 or in float, for one image [1, 20, 20, 1] at a time."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    whole = kind == "int8"
    values = weight if whole else weight.astype(np.float32) * np.float32(grids[1])
    contents = [b"", values.tobytes(), np.array([1, 400], np.int32).tobytes()]
    buffers = [_made(schema.BufferT(), data=np.frombuffer(c, np.uint8) if c else None) for c in contents]
    of = schema.TensorType.INT8 if whole else schema.TensorType.FLOAT32
    x, w, y = (grids[0], (grids[1], 0), grids[2])

    def tensor(name, shape, number, grid, type_=of):
        made = _made(schema.TensorT(), name=name.encode(), shape=list(shape), buffer=number, type=type_)
        if whole and grid is not None:
            made.quantization = _made(schema.QuantizationParametersT(), scale=[grid[0]], zeroPoint=[grid[1]])
        return made

    tensors = [
        tensor("images", (1, 20, 20, 1), 0, x),
        tensor("shape", (2,), 2, None, schema.TensorType.INT32),
        tensor("flat", (1, 400), 0, x),
        tensor("weight", (10, 400), 1, w),
        tensor("logits", (1, 10), 0, y),
        *([tensor("probabilities", (1, 10), 0, None)] if softmax else []),
    ]
    operators = [
        _operator(schema, 0, [0, 1], [2]),
        _operator(
            schema, 1, [2, 3, -1], [4], schema.BuiltinOptions.FullyConnectedOptions, schema.FullyConnectedOptionsT()
        ),
    ]
    if softmax:
        options = _made(schema.SoftmaxOptionsT(), beta=1.0)
        operators.append(_operator(schema, 2, [4], [5], schema.BuiltinOptions.SoftmaxOptions, options))
    names = schema.BuiltinOperator
    codes = [
        _made(schema.OperatorCodeT(), builtinCode=code, deprecatedBuiltinCode=code, version=version)
        for code, version in ((names.RESHAPE, 1), (names.FULLY_CONNECTED, 4 if whole else 1), (names.SOFTMAX, 1))
    ]
    graph = _made(
        schema.SubGraphT(), tensors=tensors, inputs=[0], outputs=[len(tensors) - 1], operators=operators, name=b"main"
    )
    model = _made(schema.ModelT(), version=3, operatorCodes=codes, subgraphs=[graph], buffers=buffers, description=b"")
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _made(thing, **fields):
    for name, value in fields.items():
        assert hasattr(thing, name), name
        setattr(thing, name, value)
    return thing


def _operator(schema, code, inputs, outputs, kind=0, options=None):
    return _made(
        schema.OperatorT(),
        opcodeIndex=code,
        inputs=inputs,
        outputs=outputs,
        builtinOptionsType=kind,
        builtinOptions=options,
    )
