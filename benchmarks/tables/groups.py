"""What the tables ask of a record: which data it belongs to, what protected it, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmarks.statistics import Estimate, Record
from benchmarks.texts.sets import text_sets

Chosen = Callable[[Record], bool]
Value = Callable[[Record], float]
FAMILIES = {"nano": "small LM", "emoji": "emoji LDM", "smollm2": "SmolLM2-135M", "gemma270m": "Gemma 3 270M"}
# Seeds that were run once, after everything had been decided.
CONFIRMED_FROM = {"nano": 6, "emoji": 1, "smollm2": 1, "gemma270m": 1}


def related(record: Record) -> bool:
    """Whether the small model's pool holds much of the references' own source."""
    return record["pool"] != "unrelated" and record["set"] in ("near", "dialect")


def of_family(family: str) -> Chosen:
    """Return what chooses the records of a family."""
    return lambda record: bool(record["family"] == family)


GROUPS: dict[str, Chosen] = {
    "small LM, related data in the pool": lambda r: r["family"] == "nano" and related(r),
    "small LM, no or thinly related data": lambda r: r["family"] == "nano" and not related(r),
    **{name: of_family(family) for family, name in FAMILIES.items() if family != "nano"},
}


def kind(record: Record) -> str:
    """Return what the references are: a subject, a style, a voice, a format, facts; or a dialect."""
    texts = text_sets()
    return texts[record["set"]].kind if record["set"] in texts else str(record["kind"])


def confirmed(record: Record) -> bool:
    """Whether the record is of a seed that was run once, when everything had been decided."""
    return bool(record["seed"] >= CONFIRMED_FROM.get(record["family"], 1000))


def best(record: Record) -> float:
    """Return the held-out loss at the run's own best step, relative to the start; negative is better."""
    return float(record["heldout_best"] / record["heldout_start"])


def published(record: Record) -> float:
    """Return the held-out loss at the published step, relative to the start."""
    return float(record["heldout_at_stop"] / record["heldout_start"])


def forgetting(record: Record) -> float:
    """Return the rise of the loss on backbone data at the published step."""
    return float(record["forgetting"])


def cell(value: Estimate | None, scale: float = 100.0, digits: int = 1, sign: str = "+") -> str:
    """Return what stands in a cell; bold leaves out the value that says that nothing differs."""
    if value is None:
        return ""
    text = value.text(scale, digits, sign)
    return f"**{text}**" if value.clear else text


def size(value: Estimate) -> str:
    """Return how much stands behind a row: runs, and in brackets the clusters."""
    return f"{value.count} ({value.clusters})"


def table(head: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown; `head` names the columns, divided by bars. Without rows it says so."""
    names = [name.strip() for name in head.split("|")]
    lines = [" | ".join(row) for row in rows]
    if not lines:
        return "*No records yet.*"
    return "\n".join([f"| {' | '.join(names)} |", "|" + "---|" * len(names), *(f"| {line} |" for line in lines)])
