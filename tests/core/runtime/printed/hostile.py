"""A program that was taken over and prints a canary in every way it can think of: `hostile.py CANARY PLACE HOW`."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path

import core.disk
import core.errors

ENDLESS_BYTES = 30_000_000


def lies(canary: str, place: Path) -> list[str]:
    """Lines that look like ours, like Python's and like a machine's, with the canary where a field is."""
    planted = place / f"{canary}.py"
    planted.write_text(f"def {canary}():\n    pass\n")
    code = core.disk.__file__
    return [
        canary,
        f"Token indices sequence length is longer than 77: {canary}",
        f"The following part of your input was truncated because CLIP can only handle 77 tokens: ['{canary}']",
        f'  File "{planted}", line 1, in {canary}',
        f'  File "{code}", line 1, in {canary}',
        f'  File "{code}/../{canary}.py", line 1, in <module>',
        f'  File "{code}", line {canary}, in <module>',
        f'  File "{code}", line 9999999, in <module>\n    {canary}',
        f'  File "{code}", line 3, in <module>\n    {canary}',
        f'  File "<{canary}>", line 1, in <module>',
        f'  File "<frozen {canary}>", line 1, in <module>',
        f'  File "{code}", line 1, in <module> {canary}',
        f"{canary}.Error: {canary}",
        f"builtins.{canary}: no",
        f"core.errors.{canary}",
        f"core.errors.JobFailure: {canary}",
        f"torch.{canary}Error: {canary}",
        f"builtins.KeyError: '{canary}'",
        f"RuntimeError: {canary}",
        f"RuntimeError: CUDA error: {canary}",
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {canary} MiB. GPU {canary}",
        f"OSError: [Errno 2] No such file or directory: '{canary}'",
        f"OSError: [Errno {canary}] {canary}",
        f"Fatal Python error: {canary}",
        f"Thread 0x00007f0000000000 [{canary}] (most recent call first):",
        f"Current thread {canary} (most recent call first):",
        f"which led to {canary}",
        f"{code}:1: UserWarning: {canary}",
        f"{planted}:1: UserWarning: {canary}",
        f"{code}:1: {canary}: no",
        f"reader: {canary}",
        f"reader: a decoder ended with {canary}",
        json.dumps({"time": "x", "level": "error", "logger": "core", "message": canary, "traceback": canary}),
        f"\x1b[2K\r12:00:00 ERROR worker: {canary}",
        f"a\x00{canary}\x0b\x85\u2028{canary}",
        "\ud800".join(canary),
        canary * 400,
        f"    {canary}",
        "    ^^^^",
    ]


def main() -> None:
    canary, place, how = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if how == "lies":
        words = "\n".join(lies(canary, place)).encode(errors="surrogatepass")
        os.write(2, words[:-3])
        os.write(2, words[-3:] + b"\n\xff\xfe" + canary.encode() + b"\xc3\n" + canary.encode() + b"\xe2\x82")
    elif how == "endless":
        for _ in range(ENDLESS_BYTES // 100_000):
            os.write(2, (canary.encode() * 10_000)[:100_000])
        os.write(2, b"\n" + 500 * (canary.encode() + b"\n"))
    elif how == "repetitive":
        while True:
            os.write(2, 500 * b"builtins.KeyError\n")
    elif how == "honest":
        faulthandler.enable()
        os.kill(os.getpid(), signal.SIGABRT)
    elif how == "error":
        raise core.errors.JobFailure(canary, code="diverged")


if __name__ == "__main__":
    main()
