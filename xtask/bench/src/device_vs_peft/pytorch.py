"""What PyTorch and PEFT need for the same rows: one mode in one process.

    python pytorch.py < request.json

The request names a mode (forward, forward-bf16, lora, full), a model (a GGUF file, or the sizes of an OPT with random
weights), threads, rounds, and micro-batches of token ids, padded on the right, with their lengths and classes. The answer
is one line of JSON: seconds of each round, and the resident memory in bytes after loading and at the peak.

By default the model is called as its users call it, `model(ids, mask).logits`, which scores the whole vocabulary at every
token. With `lean` only the label words at each sample's last token are scored, as mobillm does.
"""

import gc
import json
import os
import sys
import time

import torch

RANK = 8


def memory(field):
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise RuntimeError(f"the system does not tell {field}")


def load(model):
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if "gguf" in model:
        folder, name = os.path.split(model["gguf"])
        return transformers.AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    return transformers.OPTForCausalLM(transformers.OPTConfig(**model["opt"])).float()


def with_lora(model):
    import peft

    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=["q_proj", "v_proj"])
    return peft.get_peft_model(model, config)


def logits(model, batch, labels, lean):
    """The scores of the label words behind each sample's last token, [samples, labels]."""
    if not lean:
        scores = model(input_ids=batch["ids"], attention_mask=batch["mask"]).logits
        return scores[torch.arange(len(scores)), batch["last"]][:, labels].float()
    hidden = model.get_decoder()(input_ids=batch["ids"], attention_mask=batch["mask"]).last_hidden_state
    last = hidden[torch.arange(len(hidden)), batch["last"]]
    return last.float() @ model.get_output_embeddings().weight[labels].float().T


def tensors(batch):
    ids = torch.tensor(batch["ids"])
    lengths = torch.tensor(batch["lengths"])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return {"ids": ids, "mask": mask, "last": lengths - 1, "classes": torch.tensor(batch["classes"])}


def main():
    request = json.load(sys.stdin)
    mode = request["mode"]
    torch.set_num_threads(request["threads"])
    torch.manual_seed(0)
    model = load(request["model"])
    gc.collect()
    after_load = memory("VmRSS")
    labels, lean = request["labels"], request["lean"]
    batches = [tensors(batch) for batch in request["batches"]]
    optimizer = None
    if mode in ("lora", "full"):
        model = with_lora(model) if mode == "lora" else model
        model.train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    elif mode == "forward-bf16":
        model = model.bfloat16().eval()
    else:
        model.eval()

    def step(batch):
        if optimizer is None:
            with torch.inference_mode():
                return logits(model, batch, labels, lean)
        loss = torch.nn.functional.cross_entropy(logits(model, batch, labels, lean), batch["classes"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    seconds = []
    step(batches[0])
    for _ in range(request["rounds"]):
        began = time.perf_counter()
        for batch in batches:
            step(batch)
        seconds.append(time.perf_counter() - began)
    answer = {"seconds": seconds, "after_load": after_load, "peak": memory("VmHWM")}
    print(json.dumps(answer))


main()
