"""A trainer that was taken over, a canary in all that it prints and says: `hostile_trainer.py CANARY PLACE HOW`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.core.runtime.printed.hostile import lies
from worker.protocol import Failed, Message, Ready, to_line

MESSAGES, MESSAGE_CHARACTERS = 60, 100_000


def main() -> None:
    canary, place, how = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    os.write(1, to_line(Ready(os.getpid())).encode())
    sys.stdin.readline()
    os.write(2, "\n".join(lies(canary, place)).encode(errors="replace"))
    match how:
        case "nonsense":
            os.write(1, f"{canary}\n".encode())
        case "bytes":
            os.write(1, b"\xff" + canary.encode() + b"\n")
        case "stage":
            os.write(1, json.dumps({"kind": "Saved", "stage": canary}).encode() + b"\n")
        case "field":
            os.write(1, json.dumps({"kind": "Saved", canary: canary}).encode() + b"\n")
        case "deep":
            os.write(1, 100_000 * b"[" + canary.encode() + b"\n")
        case "long":
            sys.stdout.write(canary * 1_000_000)
        case "code":
            os.write(1, to_line(Failed(canary, canary, param=canary)).encode())
        case "many":
            for _ in range(MESSAGES):
                sys.stdout.write(to_line(Message("train", "x" * MESSAGE_CHARACTERS)))
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    main()
