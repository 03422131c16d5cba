"""Tokens per second and peak memory of fine-tuning: everything, LoRA, QLoRA, with and without gradient checkpointing.

Run ``python benchmarks/training.py [--layers N --width N]``. The same model of random weights, the same batches, all
methods in one run; each in a process of its own, so that its peak memory is its own. What is timed is a whole optimiser
step: forward, backward, AdamW. "peak" is the largest resident set (on a GPU, the most memory that torch held), "over
load" what training added to the loaded weights. "CPU ms" is processor time per token, which other work on the machine
hardly changes, unlike tokens per second. The peer is full fine-tuning by the same library.

``--gpu`` takes a Qwen2.5-VL of 7 B random weights in bf16, and adds samples per second and model-FLOPs utilisation
(6 FLOPs a weight and token where all is trained, 4 where the weights are frozen, the recomputation of checkpointing not
counted, as in PaLM, arXiv 2204.02311, appendix B) against ``--peak-tflops``. That mode has not been run where this was
written: there was no GPU.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from typing import Any

import torch

from gaea.finetune import lora
from gaea.finetune.collate import IGNORED
from gaea.finetune.lora import LoraRecipe

IMAGE, WORDS, LEARNED = 4, 2000, 0.25
PATCH, SIDE = 16, 128


def small(width: int, layers: int) -> Any:
    """A LLaVA for CPUs."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        pad_token_id=0,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE, vision_feature_layer=-1)
    return LlavaForConditionalGeneration(config)


def large() -> Any:
    """Qwen2.5-VL-7B's shape, random weights, on the GPU in bf16."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584}
    vision |= {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112}
    vision |= {"fullatt_block_indexes": [7, 15, 23, 31]}
    text = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
    text |= {"num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 32768, "pad_token_id": 0}
    text["rope_parameters"] = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    config = Qwen2_5_VLConfig(
        vision_config=vision, text_config=text, image_token_id=IMAGE, video_token_id=5, vision_start_token_id=6
    )
    with torch.device("cuda"):
        torch.set_default_dtype(torch.bfloat16)
        model = Qwen2_5_VLForConditionalGeneration(config)
        torch.set_default_dtype(torch.float32)
    return model


def batch(rows: int, length: int, *, gpu: bool) -> dict[str, torch.Tensor]:
    """Random rows: a picture, a question, and an answer of a quarter of the length, which is what is learned."""
    ids = torch.randint(10, WORDS, (rows, length))
    if gpu:
        grid = torch.tensor([[1, 36, 36]] * rows)  # 504 x 504 pixels: 324 tokens
        seen = {"pixel_values": torch.randn(rows * 36 * 36, 1176), "image_grid_thw": grid}
        pictures = 324
    else:
        seen, pictures = {"pixel_values": torch.randn(rows, 3, SIDE, SIDE)}, (SIDE // PATCH) ** 2
    ids[:, 1 : 1 + pictures] = IMAGE
    if gpu:
        ids[:, 0] = 6
        seen["mm_token_type_ids"] = (ids == IMAGE).int()
    labels = ids.clone()
    labels[:, : length - int(length * LEARNED)] = IGNORED
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, **seen}


def peak_mb(device: str) -> float:
    """Most memory so far, MB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def one(options: argparse.Namespace) -> dict[str, Any]:
    """Train for some steps by one method, in this process."""
    from transformers import AutoModelForImageTextToText

    device = "cuda" if options.gpu else "cpu"
    dtype = torch.bfloat16 if options.gpu else torch.float32
    method, _, checkpointed = options.one.partition("+")
    recipe = LoraRecipe(
        model=options.folder,
        method="full" if method == "full" else "lora",
        quantize="4bit" if method == "qlora" else "",
        geotokens=False,
        learning_rate=1e-4,
        projector_rate=1e-5,
        precision="bf16" if options.gpu else "float32",
    )
    given: dict[str, Any] = {"dtype": dtype, "device_map": device}
    if recipe.quantize:
        given["quantization_config"] = lora.quantization(recipe, dtype)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_pretrained(options.folder, **given)
    model.config.use_cache = False
    student = lora.prepare(model, None, recipe).model.train()
    if checkpointed:
        student.gradient_checkpointing_enable({"use_reentrant": False})
    loaded = peak_mb(device)
    optimiser = torch.optim.AdamW(lora.groups(student, recipe))
    rows = {k: v.to(device) for k, v in batch(options.rows, options.length, gpu=options.gpu).items()}
    if options.gpu:
        rows["pixel_values"] = rows["pixel_values"].to(dtype)
    seconds, busy, losses = [], [], []
    for _ in range(options.steps + 1):  # the first one warms up
        begun, worked = time.perf_counter(), time.process_time()
        loss = student(**rows).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))  # which also waits for the device
        seconds.append(time.perf_counter() - begun)
        busy.append(time.process_time() - worked)
    step_s, busy_s = statistics.median(seconds[1:]), statistics.median(busy[1:])
    weights = sum(p.numel() for p in model.model.language_model.parameters())
    flops = (6 if method == "full" else 4) * weights * options.rows * options.length
    return {
        "method": options.one,
        "trained": sum(p.numel() for p in student.parameters() if p.requires_grad),
        "tokens_s": options.rows * options.length / step_s,
        "cpu_ms_token": 1e3 * busy_s / (options.rows * options.length),
        "samples_s": options.rows / step_s,
        "peak_mb": peak_mb(device),
        "over_load_mb": peak_mb(device) - loaded,
        "mfu": flops / step_s / (options.peak_tflops * 1e12) if options.gpu else None,
        "loss": [losses[0], losses[-1]],
    }


def main() -> None:
    """Measure every method and print a table, then the same as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rows", type=int, default=2, help="rows at once; GAEA's is 4 per device")
    parser.add_argument("--length", type=int, default=128, help="tokens of a row; GAEA's limit is 1024")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--gpu", action="store_true", help="7 B random weights on a GPU")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of the GPU in bf16, dense")
    parser.add_argument("--methods", nargs="+", default=["full", "full+gc", "lora", "lora+gc", "qlora", "qlora+gc"])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options)))
        return
    if find_spec("bitsandbytes") is None:
        options.methods = [method for method in options.methods if not method.startswith("qlora")]
        print("bitsandbytes is not installed: QLoRA is left out")
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        model = large() if options.gpu else small(options.width, options.layers)
        model.save_pretrained(folder)
        total = sum(p.numel() for p in model.parameters())
        print(f"{total / 1e6:,.0f} M weights; {options.rows} rows of {options.length} tokens, {options.steps} steps")
        del model
        same = [sys.argv[0], *sys.argv[1:], "--folder", folder]
        found = []
        for method in options.methods:
            done = subprocess.run([sys.executable, *same, "--one", method], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{method}: failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
                continue
            found.append(json.loads(done.stdout.splitlines()[-1]))
    print(
        f"{'method':10} {'trained':>12} {'tokens/s':>9} {'CPU ms':>7} {'samples/s':>9} "
        f"{'peak MB':>9} {'over load':>9}  MFU"
    )
    for row in found:
        share = f"{row['mfu']:.1%}" if row["mfu"] is not None else "-"
        print(
            f"{row['method']:10} {row['trained']:12,} {row['tokens_s']:9,.0f} {row['cpu_ms_token']:7.2f} "
            f"{row['samples_s']:9.2f} "
            f"{row['peak_mb']:9,.0f} {row['over_load_mb']:9,.0f}  {share}"
        )
    for row in found:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
