"""The same work in what people use otherwise: the loop of diffusers' LoRA examples, and the Trainer of transformers."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gpu.backbones import TEXT_TOKENS, language_folder, own_dtype, sized_unet
from benchmarks.gpu.measuring import Facts, cuda, profiled, release, row, timed, wait
from benchmarks.gpu.setup import Setup
from benchmarks.gpu.speed import texts
from core.backbones.families import FAMILIES

WARM_STEPS = 3


def against_diffusers(setup: Setup) -> Facts:
    """A step of diffusers' own LoRA example at Stable Diffusion 1.5's size, and how much slower ours is."""
    found: Facts = {}
    side, width = setup.size((64, 768), (8, 32))
    for size in (1, 4):
        release()
        unet, scheduler = sized_unet(setup)
        unet.eval()
        batch = {"mean": torch.randn(20, 4, side, side), "text": torch.randn(20, TEXT_TOKENS, width)}
        step = _step(setup, unet, scheduler, batch, size)
        found[f"diffusers + peft, b={size}"] = row(timed(step, setup.size(8, 2), WARM_STEPS))
        if size == 1:
            found["profile"] = profiled(step)
        ours = setup.found.get("steps_images", {}).get(f"step b={size} runs=1", {}).get("ms")
        if ours:
            found[f"ours is slower by, b={size}"] = round(ours / found[f"diffusers + peft, b={size}"]["ms"], 2)
        del unet, step
    return found


def _step(setup: Setup, unet: Any, scheduler: Any, batch: dict[str, Tensor], size: int) -> Callable[[], float]:
    """Return a step as diffusers' examples have it: a float32 adapter of peft, autocast, AdamW, clipping."""
    learned = _learned(unet)
    optimizer = torch.optim.AdamW(learned, lr=1e-4)
    mean, text = (batch[name].to(setup.device) for name in ("mean", "text"))
    generator = torch.Generator(setup.device).manual_seed(0)

    def step() -> float:
        index = torch.randint(0, len(mean), (size,), device=setup.device, generator=generator)
        noise = torch.randn(mean[index].shape, device=setup.device, generator=generator)
        timestep = torch.randint(0, 1000, (size,), device=setup.device, generator=generator)
        noisy = scheduler.add_noise(mean[index], noise, timestep)
        with torch.autocast(setup.device, torch.bfloat16, enabled=cuda()):
            predicted = unet(noisy.to(unet.dtype), timestep, text[index].to(unet.dtype)).sample
        loss = nn.functional.mse_loss(predicted.float(), noise)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach().item()

    return step


def _learned(unet: Any) -> list[nn.Parameter]:
    from peft import LoraConfig

    unet.requires_grad_(False)
    targets = list(FAMILIES["sd1"].targets)
    unet.add_adapter(LoraConfig(r=16, lora_alpha=16, init_lora_weights="gaussian", target_modules=targets))
    learned = [parameter for parameter in unet.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.data = parameter.data.float()
    return learned


def against_trainer(setup: Setup) -> Facts:
    """A step of transformers' Trainer with peft on the same texts, and how much slower ours is."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    ends: list[float] = []

    class Clock(TrainerCallback):
        """Notes when each step has ended."""

        def on_step_end(self, *_: object, **__: object) -> None:
            wait()
            ends.append(time.perf_counter())

    _, batch, size = texts(setup)
    release()
    rows = [{name: tensor[i % 16] for name, tensor in batch.items()} for i in range(size * setup.size(24, 4))]
    arguments = TrainingArguments(**_arguments(setup, size))
    Trainer(model=_peft_model(setup), args=arguments, train_dataset=rows, callbacks=[Clock()]).train()
    gaps = [after - before for before, after in itertools.pairwise(ends)]
    theirs = statistics.median(gaps[WARM_STEPS:] or gaps)
    found: Facts = {"HF Trainer + peft": row(theirs)}
    ours = setup.found.get("steps_texts", {}).get(f"step b={size} runs=1", {}).get("ms")
    return found | ({"ours is slower by": round(ours / 1e3 / theirs, 2)} if ours else {})


def _peft_model(setup: Setup) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = language_folder(setup.folder, setup.size("135m", "toy"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=own_dtype())
    targets = list(FAMILIES["llama"].targets)
    return get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=targets, task_type="CAUSAL_LM"))


def _arguments(setup: Setup, size: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "output_dir": str(setup.folder / "trainer"),
        "per_device_train_batch_size": size,
        "num_train_epochs": 1,
        "learning_rate": 1e-4,
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "bf16": cuda(),
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
    }
    return arguments if cuda() else arguments | {"use_cpu": True}
