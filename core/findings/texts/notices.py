"""Sentences about what reading texts passed over, cleaned or understood in another way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from core.findings.finding import Finding
from core.findings.naming import Group, counted, firsts, named


def _answers_left_out(group: Group) -> Finding:
    counts = Counter(notice.detail for notice in group)
    reasons = ", ".join(f"{count} as {reason}" for reason, count in sorted(counts.items()))
    return Finding(
        "answers_left_out",
        f"{counted(group, 'recorded answer is', 'recorded answers are')} left out of training: {reasons}.",
        'Nothing needs to be done; to train on one, write null for its "left_out".',
        severity="info",
    )


def _cleaned(group: Group) -> Finding:
    return Finding(
        "cleaned_text",
        f"The texts were cleaned of what is no text, or made plain: {firsts(group)}.",
        "Nothing needs to be done.",
        severity="info",
    )


def _read_as(group: Group) -> Finding:
    return Finding(
        "read_as",
        f"The layout of the file was understood: {'; '.join(dict.fromkeys(notice.detail for notice in group))}.",
        "Nothing needs to be done, if that is what it is.",
        severity="info",
    )


def _rows_read_as(group: Group) -> Finding:
    return Finding(
        "rows_read_as",
        f"Rows in another shape than the three were understood: {firsts(group)}.",
        "Nothing needs to be done, if that is what they are; the items of the file, and its content, show how they "
        "were read.",
        severity="info",
    )


def _lines_passed_over(group: Group) -> Finding:
    return Finding(
        "lines_passed_over",
        f"Lines that hold no rows were passed over: {firsts(group)}.",
        "Nothing needs to be done, unless they shall be learned.",
        severity="info",
    )


def _looks_like(group: Group) -> Finding:
    more = len(group) - 1
    subject = f"{group[0].place} and {more:,} more look" if more else f"{group[0].place} looks"
    learned = "are learned as plain text, as they stand" if more else "is learned as plain text, as it stands"
    return Finding(
        "looks_like",
        f"{subject} like {group[0].detail}, and {learned}.",
        "Nothing needs to be done, if the marks shall be learned too; else write it as JSONL: one chat, pair or text a "
        "line.",
    )


def _keys_ignored(group: Group) -> Finding:
    return Finding(
        "keys_ignored",
        f"Keys that are known, and are not learned, were passed over: {firsts(group)}.",
        "Nothing needs to be done; what shall be learned of them stands in the texts themselves.",
        severity="info",
    )


def _masks_honoured(group: Group) -> Finding:
    return Finding(
        "masks_honoured",
        f"Marks of other trainers were read as weights, 1 (learned) or 0 (not learned): {firsts(group)}.",
        "Nothing needs to be done.",
        severity="info",
    )


def _empty_system(group: Group) -> Finding:
    return Finding(
        "empty_system",
        f"System messages that say nothing were passed over: {firsts(group)}.",
        "Nothing needs to be done.",
        severity="info",
    )


def _calls_undeclared(group: Group) -> Finding:
    return Finding(
        "calls_undeclared",
        f"Functions are called that no tools beside the messages declare: {firsts(group)}. They are learned as they "
        "stand.",
        'Where a question is asked with tools, declare the same ones: "tools" beside "messages".',
    )


def _rows_left_out(group: Group) -> Finding:
    return Finding(
        "rows_left_out",
        f"{counted(group, 'row is', 'rows are')} left out of training, as the row's own weight or mark says: "
        f"{named(group)}.",
        "Nothing needs to be done; to train on one, take its weight or mark away.",
        severity="info",
    )


def _text_copies(group: Group) -> Finding:
    return Finding(
        "duplicate_item",
        f"{counted(group, 'exact copy was', 'exact copies were')} left out: {named(group)}. Each reference counts "
        "once.",
        "Nothing needs to be done.",
    )


SENTENCES: Mapping[str, Callable[[Group], Finding]] = {
    "answers_left_out": _answers_left_out,
    "calls_undeclared": _calls_undeclared,
    "cleaned": _cleaned,
    "empty_system": _empty_system,
    "keys_ignored": _keys_ignored,
    "lines_passed_over": _lines_passed_over,
    "looks_like": _looks_like,
    "masks_honoured": _masks_honoured,
    "read_as": _read_as,
    "rows_left_out": _rows_left_out,
    "rows_read_as": _rows_read_as,
    "text_copy": _text_copies,
}
