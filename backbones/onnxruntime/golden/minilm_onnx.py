"""Golden figures: what ONNX Runtime computes for the ONNX graph of all-MiniLM-L6-v2, layer by layer.

    pip install onnx==1.23.2 onnxruntime==1.31.1
    python minilm_onnx.py MODEL.onnx > minilm_onnx.json

MODEL.onnx is what `mobillm pull all-minilm-l6-v2-onnx` prints. The graph is run as it is, with the
results of the norms behind embedding and layers as further outputs: they are told by the names of their
weights, which the importer does not look at. Tokens and projections are those of minilm.json. The
weights are rounded to 8 bits, so the figures are this graph's own; those of minilm.json are near.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

LAYERS = 6
PROJECTIONS = 16


def signs(size):
    """[PROJECTIONS, size] of -1 and 1, as in minilm.py."""
    with np.errstate(over="ignore"):
        bits = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits = bits ^ (bits >> np.uint64(31))
    rows = [(bits >> np.uint64(k)) & np.uint64(1) for k in range(PROJECTIONS)]
    return np.stack(rows).astype(np.float64) * 2 - 1


def figures(values):
    values = values.astype(np.float64).reshape(-1)
    return {
        "norm": float(f"{np.linalg.norm(values):.8g}"),
        "projections": [float(f"{value:.8g}") for value in signs(values.size) @ values],
    }


def main():
    model = onnx.load(sys.argv[1])
    norms = ["inner.embeddings.LayerNorm.weight"]
    norms += [f"inner.encoder.layer.{layer}.output.LayerNorm.weight" for layer in range(LAYERS)]
    made_by = {node.input[1]: node.output[0] for node in model.graph.node if node.op_type == "LayerNormalization"}
    outputs = [made_by[norm] for norm in norms]
    present = {output.name for output in model.graph.output}
    for name in outputs:
        if name not in present:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    golden = json.loads(Path(__file__).with_name("minilm.json").read_text())["samples"]
    shape = (len(golden), max(len(sample["ids"]) for sample in golden))
    ids, mask, segments = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    for row, sample in enumerate(golden):
        length = len(sample["ids"])
        ids[row, :length], mask[row, :length], segments[row, :length] = sample["ids"], 1, sample["segments"]
    states = session.run(outputs, {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments})
    samples = []
    for row, sample in enumerate(golden):
        layers = [figures(state[row, : len(sample["ids"])]) for state in states]
        samples.append({"ids": sample["ids"], "segments": sample["segments"], "layers": layers})
    made_with = f"onnxruntime {onnxruntime.__version__}, float32"
    lines = ",\n".join(json.dumps(sample) for sample in samples)
    print(f'{{"made_with": {json.dumps(made_with)}, "samples": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
