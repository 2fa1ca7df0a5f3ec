"""Sentences about what reading an upload passed over, cleaned or changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from core.findings.finding import Finding
from core.references.notices import Notice

MAX_NAMED = 5  # places that one sentence names
Group = Sequence[Notice]


def of_notices(notices: Iterable[Notice]) -> list[Finding]:
    """Return one finding for every code, in the order in which they were first met."""
    groups: dict[str, list[Notice]] = {}
    for notice in notices:
        groups.setdefault(notice.code, []).append(notice)
    return [SENTENCES[code](group) for code, group in groups.items()]


def named(group: Group) -> str:
    """Name the first places of a group, with what is the matter with them, and how many more there are."""
    told = [f"{notice.place} ({notice.detail})" if notice.detail else notice.place for notice in group[:MAX_NAMED]]
    more = f" and {len(group) - MAX_NAMED} more" if len(group) > MAX_NAMED else ""
    return ", ".join(told) + more


def counted(group: Group, one: str, many: str) -> str:
    """Say how many there are."""
    return f"{len(group)} {one if len(group) == 1 else many}"


def _answers_left_out(group: Group) -> Finding:
    counts = Counter(notice.detail for notice in group)
    reasons = ", ".join(f"{count} as {reason}" for reason, count in sorted(counts.items()))
    return Finding(
        "answers_left_out",
        f"{counted(group, 'recorded answer is', 'recorded answers are')} left out of training: {reasons}.",
        'Nothing needs to be done; to train on one, write null for its "left_out".',
        severity="info",
    )


def _captions_without_image(group: Group) -> Finding:
    return Finding(
        "caption_without_image",
        f"{counted(group, 'caption names an image', 'captions name images')} that the archive does not hold, "
        f"{group[0].place} first.",
        "Give caption and image the same name, or add the image.",
        group[0].place,
    )


SENTENCES: Mapping[str, Callable[[Group], Finding]] = {
    "answers_left_out": _answers_left_out,
    "caption_without_image": _captions_without_image,
}
