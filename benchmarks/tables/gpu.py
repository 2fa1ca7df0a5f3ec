"""What only a GPU can tell, of the newest `make gpu-check` on one: speed beside the alternatives, memory, agreement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Found = Mapping[str, Any]
FAMILIES = {"images": "the demo's image backbone", "texts": "a LLaMA of random weights"}
OWN = "as it is"  # what was computed in the numbers of jobs; the check itself is not imported, for it sets variables
NOT_RUN = "No GPU has run it yet."


def gpu_table(record: Found) -> str:
    """Return a row for each thing that was measured, with the alternative of the same run; NOT_RUN without a record."""
    if not record:
        return NOT_RUN
    parts = record["parts"]
    card = f"{record['device']}, {record['date']}, torch {parts['environment']['torch']}"
    head = f"| {card} | ours | beside it |\n|---|---|---|"
    return "\n".join([head, *_steps(parts), *_texts(parts), *_scores(parts), *_agreement(parts), *_whole(parts)])


def _steps(parts: Found) -> Iterator[str]:
    ours, theirs = parts.get("steps_images", {}), parts.get("against_diffusers", {})
    for size in (1, 4):
        mine, other = ours.get(f"step b={size} runs=1"), theirs.get(f"diffusers + peft, b={size}")
        if mine and other:
            yield _row(
                f"a step of SD 1.5's size, 512 px, batch {size}", _taken(mine), f"diffusers + peft {_taken(other)}"
            )
    yield from _folds("four folds of it at once, batch 4", ours, 4)
    if (profile := ours.get("profile b=1 runs=1")) is not None:
        share = f"{profile['busy share (profiled)']:.0%} of the time of a step at batch 1"
        yield _row(
            "the GPU computes", share, f"{profile['kernels']:,} kernels, {profile['host waits']:.0f} waits of the host"
        )
    if (share := ours.get("cs share of a step, every 5")) is not None:
        yield _row("CS-Fluctuation every 5 steps", f"{share:.1%} of training", "")


def _texts(parts: Found) -> Iterator[str]:
    ours, theirs = parts.get("steps_texts", {}), parts.get("against_trainer", {})
    if (mine := ours.get("step b=4 runs=1")) and (other := theirs.get("HF Trainer + peft")):
        yield _row("a step of a 135M LLaMA, 512 tokens, batch 4", _taken(mine), f"HF Trainer + peft {_taken(other)}")
    yield from _folds("four folds of it at once", ours, 4)


def _folds(what: str, steps: Found, size: int) -> Iterator[str]:
    if (four := steps.get(f"step b={size} runs=4")) is not None:
        yield _row(what, _taken(four), f"{steps['four folds cost, in runs']:.2f} single runs")


def _scores(parts: Found) -> Iterator[str]:
    found = parts.get("scoring", {})
    if (one := found.get("sd, 1 at once")) and (many := found.get("sd, 32 at once")):
        times = one["ms a candidate"] / many["ms a candidate"]
        mine = f"{many['ms a candidate']:.1f} ms, {many['peak GiB']:.1f} GiB"
        beside = f"one at a time {one['ms a candidate']:.0f} ms: {times:.0f} times"
        yield _row("the score of a candidate at SD 1.5's size, 32 at once", mine, beside)


def _agreement(parts: Found) -> Iterator[str]:
    for kind, backbone in FAMILIES.items():
        if (row := parts.get(f"right_{kind}")) is not None:
            strict, own = row["float32"], row[OWN]
            mine = f"losses {strict['loss']:.0e} off in float32, {own['loss']:.0e} in bf16"
            beside = (
                f"in bf16 cosine of gradients {own['gradient cosine']:.4f}, ranks of scores {own['score spearman']:.3f}"
            )
            yield _row(f"CPU and GPU agree, {backbone}", mine, beside)


def _whole(parts: Found) -> Iterator[str]:
    for kind, backbone in FAMILIES.items():
        if (row := parts.get(f"whole_{kind}")) is not None:
            same = "equal" if row["resumed"] == row["same twice"] == 0 else f"{row['resumed']} off"
            formats = ", ".join(f"{name} {off:.0e}" for name, off in row["export errors"].items())
            yield _row(f"stopped and resumed, {backbone}", f"losses {same}", f"files read back, off by: {formats}")


def _taken(row: Found) -> str:
    return f"{row['ms']:.0f} ms" + (f", {row['peak GiB']:.1f} GiB" if row.get("peak GiB") else "")


def _row(what: str, ours: str, beside: str) -> str:
    return f"| {what} | {ours} | {beside} |"
