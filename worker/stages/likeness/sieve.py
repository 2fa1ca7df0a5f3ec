"""What of the examples that a backbone makes is worth keeping: neither flat nor nearly what was kept before."""

from __future__ import annotations

from collections.abc import Iterable

from core.findings import fingerprints
from core.findings.fingerprints import NearTexts
from core.method.likeness import pictures
from core.method.likeness.pictures import Views
from core.references.items import TextItem
from worker.stages.pool import Candidate


class Sieve:
    """Lets through what is unlike everything that it let through before, or was told of."""

    def __init__(self, known: Iterable[Candidate] = ()) -> None:
        self._seen: list[Views] = []
        self._exact, self._near = set[str](), NearTexts()
        for candidate in known:
            self.passes(candidate)

    def passes(self, candidate: Candidate) -> bool:
        """Tell whether it is neither flat nor nearly one that is known; from then on it is known itself."""
        return self._new_text(candidate) if candidate.png is None else self._new_picture(candidate)

    def _new_picture(self, candidate: Candidate) -> bool:
        views = Views.of(candidate.item["image"])
        if views.flat or pictures.kin([views], self._seen):
            return False
        self._seen.append(views)
        return True

    def _new_text(self, candidate: Candidate) -> bool:
        text = fingerprints.text_print(TextItem.of(candidate.item))
        if text.exact in self._exact or self._near.find(text.near) is not None:
            return False
        self._near.add(len(self._exact), text.near)
        self._exact.add(text.exact)
        return True
