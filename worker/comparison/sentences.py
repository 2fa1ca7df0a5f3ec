"""What the figures of a comparison mean, in words."""

from __future__ import annotations

from core.text_safety import shown
from worker.comparison.measures import Figure, Summary, relative

TITLES = {
    "loss": "loss a token of the old model's answers",
    "wording": "wording shared with the old answer",
    "similarity": "nearness in meaning to the old answer",
    "same": "the same answer",
    "json": "answers that are JSON",
    "keys": "JSON with the old answer's keys",
    "length": "length, in old answers",
}
MEANINGS = {
    "loss": "how surprised the model is by what the old one said; lower is nearer",
    "wording": "runs of three characters in common (F1)",
    "similarity": "cosine of a sentence encoder's vectors",
    "same": "equal but for blanks; JSON by its value",
    "json": "objects or arrays, bare or fenced",
    "keys": "the same keys at every depth",
    "length": "median; 1 is as long",
}


def verdict(summary: Summary) -> str:
    """Say what came of a group: whether the old model's answers became likelier, and how the answers look."""
    loss = summary.figures["loss"]
    where = f"On {questions(summary.questions)} ({summary.group})"
    before, after = value(loss, loss.before), value(loss, loss.after)
    what = "the loss a token of the old model's answers"
    words = f"{where} {what} {_moved(loss)} from {before} to {after}{_change(loss)}."
    if before == after:
        words = f"{where} {what} did not change: {after}."
    return f"{words}{_shape(summary)}{_wording(summary)}"


def questions(count: int) -> str:
    """Count questions."""
    return f"{count} question" if count == 1 else f"{count} questions"


def _moved(loss: Figure) -> str:
    if loss.change_interval is not None and loss.change_interval[0] <= 0 <= loss.change_interval[1]:
        return "went"  # nobody knows whether it fell
    return "fell" if loss.after < loss.before else "rose"


def _change(loss: Figure) -> str:
    change = f", {relative(loss.before, loss.after):+.1%}"
    if loss.change_interval is None:
        return f"{change}; these are too few to tell chance from effect"
    low, high = loss.change_interval
    chance = ", which is within chance" if low <= 0 <= high else ""
    return f"{change} ({low:+.1%} to {high:+.1%}){chance}"


def _shape(summary: Summary) -> str:
    json, keys = summary.figures.get("json"), summary.figures.get("keys")
    if json is None or keys is None:
        return ""
    return f" {value(json, json.after)} of the new answers are JSON, {value(keys, keys.after)} with the old keys."


def _wording(summary: Summary) -> str:
    wording = summary.figures["wording"]
    words = f" New answers share {value(wording, wording.after)} of their wording with the old ones"
    words += f", before training {value(wording, wording.before)}"
    if wording.old is not None:
        words += f"; two answers of the old model to one question share {value(wording, wording.old)}"
    return f"{words}."


def value(figure: Figure, number: float | None) -> str:
    """Write a number of a figure."""
    if number is None:
        return "-"
    return f"{number:.0%}" if figure.unit == "share" else f"{number:.3f}" if figure.unit == "loss" else f"{number:.2f}"


def ranged(figure: Figure, number: float | None, interval: tuple[float, float] | None) -> str:
    """Write a number with its interval."""
    words = value(figure, number)
    return words if interval is None else f"{words} [{value(figure, interval[0])}, {value(figure, interval[1])}]"


def table(summary: Summary) -> list[str]:
    """Return the figures as lines for a terminal."""
    head = f"{f'{summary.group} ({summary.questions})':42} {'before training':>24} {'after':>24} {'old model':>10}"
    rows = [
        f"{TITLES[name]:42} {ranged(figure, figure.before, figure.before_interval):>24} "
        f"{ranged(figure, figure.after, figure.after_interval):>24} {value(figure, figure.old):>10}"
        for name, figure in summary.figures.items()
    ]
    return [head, *rows]


def passed_over(counts: dict[str, int]) -> str:
    """Say which lines were not compared; nothing where there are none."""
    if not counts:
        return ""
    told = ", ".join(f"{count} {shown(reason)}" for reason, count in sorted(counts.items()))
    total = sum(counts.values())
    return f"{total} {'line is' if total == 1 else 'lines are'} not compared: {told}."
