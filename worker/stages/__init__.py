"""The six stages of a job: each reads what the stages before it have written, and writes its own folder.

They run in the trainer process, or without a server in `worker.commands.train`; either way they are driven by asking
for the next line, and stopped between two lines by closing the generator.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING

from core.jobs.event_codes import EventCode
from core.parameters.schedule import STAGES
from worker.job_folder import JobFolder
from worker.protocol import Line, Message, StageDone

if TYPE_CHECKING:
    from worker.stages.context import Context


def run(folder: JobFolder) -> Generator[Line, None, None]:
    """Do what is left of the job; a stage whose folder verifies is skipped."""
    # not above: a command that only reads a pool from this package shall not load torch and the rest
    from worker.stages import prepare, score, surrogate, train, trial
    from worker.stages.context import Context
    from worker.stages.costs import measured
    from worker.stages.export import stage as export
    from worker.stages.protection import own

    functions = {
        "prepare": prepare.prepare,
        "surrogate": surrogate.surrogate,
        "score": score.score,
        "trial": trial.trial,
        "train": train.train,
        "export": export.export,
    }
    context = Context(folder)
    if "ready" in context.spec:  # no job: only the backbone's data are to be encoded
        yield from prepare.keep_pool(context)
        return
    began = time.monotonic()
    yield from own.ready(context)
    making = {"making_seconds": time.monotonic() - began}  # is no part of any stage, nor of what the next job takes
    for stage in STAGES:
        if not folder.done(stage):
            with measured(context.profiler, str(context.spec["device"])) as report:
                yield from _with_news(stage, functions[stage](context), context)
            report["facts"] |= making
            making = {}
            context.folder.forget_saves()
            yield StageDone(stage, report)


def _with_news(stage: str, lines: Generator[Line, None, None], context: Context) -> Generator[Line, None, None]:
    """Yield a stage's lines, and after each what there is to tell of its memory."""
    with closing(lines):
        for line in chain(lines, [None]):
            if line is not None:
                yield line
            while context.memory_news:
                yield Message(stage, context.memory_news.pop(0), code=EventCode.MEMORY)
