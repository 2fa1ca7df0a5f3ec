"""All texts that a user reads of a job, and whether each claim in them holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reports.records import Records
from benchmarks.reports.rules import (
    answers,
    evidence,
    fluctuation,
    memory,
    messages,
    mixing,
    pictures,
    prompts,
    protection,
    references,
    stopping,
    values,
)
from benchmarks.reports.rules.claims import CLAIMS, Fault, Sentence, judge
from core.parameters import presets

RULES = (
    answers,
    evidence,
    fluctuation,
    memory,
    messages,
    mixing,
    pictures,
    prompts,
    protection,
    references,
    stopping,
    values,
)  # importing them registers their claims


@dataclass(frozen=True)
class Verdict:
    """What was found of one job."""

    name: str
    preset: str
    sentences: int
    claims: int
    faults: list[Fault]


def check(out: Path, own_presets: Sequence[Path] = ()) -> Verdict:
    """Check all sentences of the job in an output folder; `own_presets` are folders of an operator's presets."""
    records = Records(out, (presets.FOLDER, *own_presets))
    told, claims, faults = list(sentences(records)), 0, list[Fault]()
    for sentence in told:
        made, wrong = judge(sentence, records, CLAIMS)
        claims, faults = claims + made, faults + wrong
    return Verdict(out.name, records.p["preset"], len(told), claims, faults)


def sentences(records: Records) -> Iterator[Sentence]:
    """Yield every text and where it stands; those that say nothing are left out."""
    report = records.report
    found = [("stop_reason", report["stop_reason"]), ("selection_reason", report["selection_reason"])]
    found += [("evidence", report["evidence"]), ("window", report["window"]["reason"])]
    found += [(f"reasons.{name}", text) for name, text in report["reasons"].items()]
    found += [(f"proposals.{name}", text) for name, (_, text) in report["proposals"].items()]
    found += [("notes", text) for text in report["notes"]]
    found += [(f"references.{row['name']}", row["sentence"]) for row in report["references"]]
    found += [(f"formats_left_out.{name}", text) for name, text in report["formats_left_out"].items()]
    found += [(f"parameters.{name}", text) for name, text in records.p["reasons"].items()]
    found += [(f"messages.{row['stage']}", row["text"]) for row in records.messages]
    yield from (Sentence(where, text) for where, text in found if text)


def table(verdicts: Sequence[Verdict]) -> str:
    """Return the jobs with what was checked and what is false, as lines to read."""
    width = max([len(verdict.name) for verdict in verdicts], default=3)
    lines = [f"{'job':<{width}}  {'preset':<10}  sentences  claims  false"]
    for one in verdicts:
        lines.append(
            f"{one.name:<{width}}  {one.preset:<10}  {one.sentences:>9}  {one.claims:>6}  {len(one.faults):>5}"
        )
        lines += [f"    {fault.sentence.where}: {fault.what}\n        {fault.sentence.text}" for fault in one.faults]
    return "\n".join(lines)
