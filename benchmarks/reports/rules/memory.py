"""Claims about how the backbone is held and computed, and what of it is adapted."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.reports.records import Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near

LIMIT = 1_000_000_000  # parameters, above which passes are computed twice


@claim(r"(?P<value>float32|bfloat16) is our usual value on a (?P<device>CPU|GPU)\.", where="parameters.precision")
def usual_floats(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["value"] == records.p["precision"], f"it is {records.p['precision']}")
    yield from holds((told["device"] == "GPU") == (records.p["device_class"] == "cuda"), "it is another device")


@claim(
    r"(?P<id>\S+) has (?P<count>[\d,]+) parameters, (?P<side>more|no more) than (?P<limit>[\d,]+)"
    r"(?:: what a backward pass needs is computed again, which saves memory and takes time)?\.",
    where="parameters.checkpointing",
)
def counted(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    count = int(told["count"].replace(",", ""))
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    yield from near(str(count), records.backbone["parameters"], "the number of parameters")
    yield from holds(int(told["limit"].replace(",", "")) == LIMIT, f"the limit is {LIMIT}")
    yield from holds((told["side"] == "more") == (count > LIMIT) == records.p["checkpointing"], "it is not so")


@claim(
    r"How many parameters (?P<id>\S+) has is not recorded, so nothing is computed twice\.",
    where="parameters.checkpointing",
)
def not_counted(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    yield from holds(records.backbone.get("parameters") is None, "it is recorded")
    yield from holds(not records.p["checkpointing"], "it is computed twice")


@claim(
    r"The target module (?P<first>\S+) is left out of the adapter: nothing that is learned flows through it\.",
    r"#count target modules \((?P<first>\S+), \.\.\.\) are left out of the adapter: nothing that is learned flows "
    r"through them\.",
    where="messages.prepare",
)
def left_out(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    paths = records.read("card.json")["adapter"]["left_out"]
    yield from near(told.get("count") or "1", len(paths), "the number of modules left out")
    yield from holds(told["first"] in paths, f"{told['first']} is adapted")


@claim(
    r"[A-Z][a-z' ]+: (?P<planned>[\d,]+) of (?P<usual>[\d,]+) samples are computed at once, since one takes about "
    r"#each [GM]iB of the #room [GM]iB of memory that may be used\."
)
def planned(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(0 < _whole(told["planned"]) < _whole(told["usual"]), "they are no fewer than usual")


@claim(
    r"[A-Z][a-z' ]+: (?P<before>[\d,]+) (?:samples|numbers) at once did not fit into memory"
    r"(?:, of which #free [GM]iB were free)?; the job goes on with (?P<after>[\d,]+)\."
)
def halved(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(_whole(told["after"]) == _whole(told["before"]) // 2, "it is not the half of them")


def _whole(told: str) -> int:
    return int(told.replace(",", ""))
