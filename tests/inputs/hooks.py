"""Loaded by schemathesis: puts things that are there into some of the bodies that it has made up."""

from __future__ import annotations

import json
import os
import random

import schemathesis

from tests.inputs.mutation import SAMPLES, mutate

KNOWN = json.loads(os.environ["KNOWN_IDS"])


@schemathesis.hook
def filter_headers(context: schemathesis.HookContext, headers: dict[str, str] | None) -> bool:
    """Leave out what makes a request no HTTP: the server itself refuses that, in few words."""
    return not {"content-length", "transfer-encoding", "connection", "host"} & {name.lower() for name in headers or {}}


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: object) -> object:
    """Name a file that is there, and upload a real file or a damaged one; leave one body in four as it is."""
    if not isinstance(body, dict) or random.random() < 0.25:
        return body
    if "training_file" in body:
        kind = random.choice(["images", "texts"])
        return body | {"model": f"tiny-{kind}", "training_file": KNOWN[kind]}
    if "file" in body:
        content = random.choice(list(SAMPLES.values()))
        return body | {"file": mutate(content, random.Random(random.random())) if random.random() < 0.5 else content}
    return body
