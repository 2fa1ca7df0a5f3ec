"""What supervisor and trainer say to each other: one JSON line each, one dataclass each."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, NoReturn, get_args

from pydantic import Field, TypeAdapter

from core.jobs.event_codes import EventCode
from core.parameters.schedule import STAGES

NO_TEXT = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # which no database takes; nor does it halves of characters
LONGEST = 1e9  # seconds that anything is said to take
Level = Literal["info", "warn", "error"]
Seconds = Annotated[float, Field(ge=0, le=LONGEST)]
Bytes = Annotated[int, Field(ge=0, le=2**53)]
Count = Annotated[int, Field(ge=0, le=10**9 - 1)]
Figures = dict[str, float]  # what was measured, by name
Percent = Annotated[int, Field(ge=0, le=100)]
Json = dict[str, Any]  # what a JSON object holds is known only to whoever reads it


@dataclass(frozen=True)
class Run:
    """To the trainer: work on the job in `folder`, whose finished stages are to be skipped."""

    folder: str


@dataclass(frozen=True)
class Stop:
    """To the trainer: leave the job after the present step; a stage that can saves where it stands."""


@dataclass(frozen=True)
class Check:
    """To the trainer: say whether `device` computes, and computes right."""

    device: str


@dataclass(frozen=True)
class Checked:
    """What was found of a device; `code` and `message` say why nothing can be computed on it, and what to do."""

    code: str | None = None
    message: str | None = None
    name: str | None = None
    total: Bytes | None = None
    free: Bytes | None = None


@dataclass(frozen=True)
class DeviceUse:
    """Bytes on the GPU: what the trainer's tensors take and took at most in this stage, what it and all hold of it.

    `utilization` is the percentage of the time in which it computed; None where nobody here can tell.
    """

    allocated: Bytes
    peak: Bytes
    reserved: Bytes
    used: Bytes
    total: Bytes
    utilization: Percent | None = None


@dataclass(frozen=True)
class Ready:
    """The trainer is up and waits for a job."""

    pid: int


@dataclass(frozen=True)
class Progress:
    """How far a stage is; `eta_seconds` is for this stage, None while no step has been timed."""

    stage: str
    step: int
    total: int
    eta_seconds: Seconds | None = None


@dataclass(frozen=True)
class Metrics:
    """Rows of a stage's curve, each with its `step`."""

    stage: str
    rows: list[Json]


@dataclass(frozen=True)
class Message:
    """A sentence for the job's owner, with the word for it that programs go by."""

    stage: str
    text: str
    level: Level = "info"
    data: Json | None = None
    code: EventCode = EventCode.NOTE


@dataclass(frozen=True)
class StageDone:
    """The stage's folder is complete on disk; `work` is what it took, as worker.stages.costs reports it."""

    stage: str
    work: Json | None = None


@dataclass(frozen=True)
class Saved:
    """The stage has saved where it stands; the newest whole folder of its saves can be stored."""

    stage: str


@dataclass(frozen=True)
class Kept:
    """A step of the adapter lies in the job folder's `kept`, and will stay; step 0: a run begins, nothing is kept."""

    stage: str
    step: Count
    metrics: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What a stage has found out of that which the job's outcome will tell, under the same names."""

    stage: str
    facts: Json


@dataclass(frozen=True)
class Sampled:
    """There are more samples to look at, in the job folder's `live`."""

    stage: str


@dataclass(frozen=True)
class Finished:
    """All stages are done; what came out lies in the job folder."""


@dataclass(frozen=True)
class Stopped:
    """The trainer has left the job as told, and waits for another."""


@dataclass(frozen=True)
class Failed:
    """The job can't go on; `exhausted` says that this process should not be used again."""

    code: str
    message: str
    transient: bool = False
    exhausted: bool = False
    param: str | None = None


Order = Run | Stop | Check
Ended = Finished | Stopped | Failed
Told = DeviceUse | Progress | Metrics | Message | StageDone | Saved | Sampled | Kept | Known
Line = Order | Ready | Checked | Told | Ended
KINDS: dict[str, type[Line]] = {kind.__name__: kind for kind in get_args(Line)}


CHECKS = {kind: TypeAdapter(kind) for kind in KINDS.values()}


def to_line(message: Line) -> str:
    """Write a message as one line of JSON; a number that is not finite raises ValueError."""
    return json.dumps({"kind": type(message).__name__, **asdict(message)}, allow_nan=False) + "\n"


def from_line(line: str) -> Line:
    """Read a line that `to_line` wrote; raises ValueError for anything else.

    What a number of another account's estimate is made of must be a number, so fields are checked for their types.
    """
    try:
        fields = json.loads(line, parse_constant=_refuse, parse_float=_finite)
        kind = KINDS[fields.pop("kind")]
        kind(**fields)
        read = CHECKS[kind].validate_python(fields)
        if NO_TEXT.search(json.dumps(fields, ensure_ascii=False).encode()):
            raise ValueError
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError):
        raise ValueError("not a line of the protocol") from None  # which may hold anything
    if fields.get("stage", STAGES[0]) not in STAGES:  # it names a folder
        raise ValueError("a line of an unknown stage")
    return read


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


def _refuse(_: str) -> NoReturn:
    raise ValueError("not a finite number")
