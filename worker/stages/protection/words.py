"""What a backbone is asked to draw of its own, and captions that have nothing to do with a job's references."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.backbones.record import OTHERS, UNRELATED, BackboneRecord
from core.method.protection.own import mixed, plain_prompts
from core.parameters.parameters import Parameters
from core.parameters.sample_prompts import Captions
from core.references import phrases
from core.references.captions import first_line
from core.references.content import content, same_content
from worker.stages.pool import Pool

CAPTIONS = 32  # unrelated ones that the references are put under


def prompts_of(record: BackboneRecord, pool: Pool | None) -> list[str]:
    """Return what the backbone draws to show what it knows: captions of its pool, or else plain prompts.

    What jobs are judged by is left out, or its keeping would be taken for that of everything.
    """
    asked = _plain(record) if pool is None else _captions(pool)
    judged = [content(words) for words in _judged(record)]
    return [words for words in asked if not any(same_content(content(words), one) for one in judged)] or asked


def unrelated(record: BackboneRecord, pool: Pool | None, p: Parameters, written: Sequence[str]) -> list[str]:
    """Return captions that name nothing of what references do whose captions are `written`, nor what is drawn later.

    Those of the pool, which a backbone knows, come before plain ones; of both first those that share no word.
    """
    captions = Captions(written, record, p.trigger, p.add_trigger)
    shown = _shared(captions)
    drawn = [captions.content(words) for words in (*p.sample_prompts, *p.unrelated_prompts)]
    said = frozenset[str]().union(*captions.contents)

    def apart(words: str) -> bool:
        meant = captions.content(words)
        named = captions.name(words) or bool(shown & meant) or any(same_content(meant, one) for one in drawn)
        return not named and not (p.trigger and phrases.names(words, p.trigger))

    known = prompts_of(record, pool) if pool is not None else []
    found = [[words for words in each if apart(words)] for each in (known, _plain(record))]
    ordered = [words for each in found for words in sorted(each, key=lambda one: len(captions.content(one) & said))]
    return list(dict.fromkeys(ordered))[:CAPTIONS]


def _shared(captions: Captions) -> frozenset[str]:
    """Return the words that say what all references show."""
    return captions.content(" ".join(captions.shared[0])) if len(captions.told) > 1 else frozenset()


def _plain(record: BackboneRecord) -> list[str]:
    return [f"{record.caption_prefix}{words}" for words in mixed(plain_prompts())]


def _captions(pool: Pool) -> list[str]:
    said = (first_line(str(each.item.get("caption") or "")) for each in pool.candidates)
    return mixed(list(dict.fromkeys(words for words in said if words.strip()))) or [""]


def _judged(record: BackboneRecord) -> Iterable[str]:
    return *record.unrelated_prompts, *UNRELATED[record.kind], *OTHERS[record.kind]
