"""Stage 3: score the candidate pool, select from it, and choose gamma."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator

from core.jobs.event_codes import EventCode
from core.method.albat import score_candidates
from core.method.backbones.backbone import count
from core.method.influence.pool_scoring import Scoring, ScoringProgress, sample_sizes
from core.method.mixing.gamma import choose_gamma
from core.parameters.schedule import MIN_CANDIDATES
from worker.job_folder import write_json, write_rows
from worker.protocol import Json, Known, Line, Message
from worker.stages import shapes
from worker.stages.context import Context, ProgressClock, driven
from worker.stages.export.explanations import scores
from worker.stages.pool import Candidate, Pool
from worker.stages.protection import protection
from worker.stages.surrogate import read_surrogate, reference_rows

DRAWN = "Examples of the backbone's own data are drawn at random, as was asked; none is scored."
UNSCORED = {
    "own": "The backbone is protected on {} samples that it made itself. Influence chooses among candidates of a pool, "
    "and none is used, so none is scored.",
    "captions": "The backbone is protected on the references under {} captions that have nothing to do with them. "
    "Influence chooses among candidates of a pool, and none is used, so none is scored.",
}
NONE_MADE = (
    "Too few candidates were made by {} itself to choose from, so the adapter is trained on the references alone."
)
SHOWN = 20  # of the best and of the worst; the selected are shown too
TEXT_CHARACTERS, BEGINNING = 1000, 100  # of a text that is shown, and of any other
CAPTION_CHARACTERS = 300


def score(context: Context) -> Generator[Line, None, None]:
    """Write every candidate's score and what was decided; without a pool, that nothing was."""
    why, rows = unused(context), list[Json]()
    decided: Json = {"selected": [], "selection": "none", "gamma": 0.0, "selection_reason": why, "reason": why}
    with context.folder.writing("score") as folder:
        if context.p.protect_on != "pool" and not why:
            decided = unscored(context)
        elif context.pool is not None and not why:
            scoring = yield from _scored(context, context.pool)
            by_chance = context.p.score == "random"
            rows = candidate_rows(context.pool.candidates, scoring, by_chance=by_chance)
            decided = decision(scoring, by_chance=by_chance)
            shapes.write_replay(context, shapes.replayed(decided), folder)
        write_rows(folder / "influence.json", rows)
        write_rows(folder / "references.json", reference_rows(context, read_surrogate(context).curves))
        write_json(folder / "decision.json", decided)
    told = {"selection": decided["selection"], "count": len(decided["selected"]), "gamma": decided["gamma"]}
    yield Message("score", decided["reason"], data=told, code=EventCode.SELECTED)
    words = scores(decided)
    yield Known("score", chosen(context, decided) | {"reasons": {"scores": words} if words else {}})


def chosen(context: Context, decided: Json) -> Json:
    """Return what the outcome tells of the candidates; whether they are used at last, the trial decides."""
    return {
        "selected": len(decided["selected"]) if decided["gamma"] else 0,
        "selection": decided.get("selection"),  # None where a version has scored that did not say
        "pool_size": len(context.pool.candidates) if context.pool and context.p.selects else 0,
        "score_reliability": decided.get("reliability"),
        "selection_reason": decided["reason"],
        "notes": decided.get("notes", []),
    }


def unused(context: Context) -> str:
    """Say why no backbone data can be used; an empty string where it can."""
    p, pool = context.p, context.pool
    if not p.augment:
        return p.reasons.get("augment", "No backbone data was asked for.")
    if p.protect_on != "pool":
        return "" if protection.amount(context) else protection.NOTHING[p.protect_on].format(context.record.id)
    if p.generates and (pool is None or not pool.candidates):
        return NONE_MADE.format(context.record.id)
    if pool is None:
        return f"{context.record.id} has no candidate pool."
    there = len(pool.candidates) - len(context.known("candidate"))
    if there < MIN_CANDIDATES:
        return (
            f"The pool of {context.record.id} holds {there} candidates; fewer than {MIN_CANDIDATES} can't be told "
            "apart by their scores, so the adapter is trained on the references alone."
        )
    return ""


def unscored(context: Context) -> Json:
    """What is decided where no candidate protects: nothing is chosen by its influence, so nothing is scored."""
    p, there, held = context.p, protection.amount(context), read_surrogate(context).curves.folds
    gamma = choose_gamma(
        p.gamma,
        comparable=all(held) and sum(map(len, held)) >= 2,
        n=count(context.references()),
        m=there,
        preset=p.learns,
        start=p.gamma_start,
        name=p.preset,
        asked="gamma" not in p.reasons,
    )
    why = UNSCORED[p.protect_on].format(there)
    decided = {"selected": [], "selection": "none", "gamma": gamma.gamma, "selection_reason": why}
    return decided | {"reason": f"{why} {gamma.reason}", "on": p.protect_on, "count": there}


def _scored(context: Context, pool: Pool) -> Generator[Line, None, Scoring]:
    sources = [candidate.source for candidate in pool.candidates]
    known = context.known("candidate")
    amount, first = sample_sizes(len(sources) - len(known), context.p)
    keeper, quarters = context.keeper("score"), [0]
    pace = ProgressClock("score", amount, keeper=keeper)

    def lines(progress: ScoringProgress) -> Iterator[Line]:
        yield pace.at(progress.done, progress.total)
        quarter = 4 * progress.done // progress.total
        if quarters[-1] < quarter < 4:
            quarters.append(quarter)
            words = f"Scoring {amount} candidates: {progress.done / progress.total:.0%} is done."
            yield Message("score", words, code=EventCode.SCORING_PROGRESS)

    by_chance = context.p.score == "random"
    words = DRAWN if by_chance else _announced(amount, first, len(sources))
    yield Message("score", words, data={"candidates": 0 if by_chance else amount}, code=EventCode.STAGE_STARTED)
    candidates = context.encoded_pool("candidate")
    surrogate = read_surrogate(context)
    references, p = context.references(), context.p
    steps = score_candidates(context.backbone, surrogate, references, candidates, p, sources, keeper, known)
    scoring = yield from driven(steps, lines, keeper)
    context.profiler.facts |= {"sampled": scoring.sampled, "scored": scoring.scored}
    if not by_chance:
        told = {"candidates": scoring.scored}
        yield Message("score", f"Scored {scoring.scored} candidates.", data=told, code=EventCode.SCORED)
    return scoring


def _announced(amount: int, first: int, of: int) -> str:
    words = f"Scoring {amount} of {of} examples of the backbone's own data"
    if first == amount:
        return f"{words}."
    return f"{words}, the first {first} of them to see whether scores repeat: else the rest is left out."


def decision(scoring: Scoring, *, by_chance: bool) -> Json:
    """What was selected and how much of it is mixed in, with the reasons; `by_chance` says that nothing was scored."""
    drawn = by_chance or scoring.selection.rule == "random"
    return {
        "selected": list(scoring.selection.indices),
        "selection": "none" if not scoring.selection.indices else "random" if drawn else "ranked",
        "blind": [list(pick) for pick in scoring.blind],
        "gamma": scoring.gamma.gamma,
        "sampled": scoring.sampled,
        "scored": scoring.scored,
        "reliability": _rounded(scoring.ranking.reliability),
        "reliability_of_sources": _rounded(scoring.ranking.by_source),
        "reliability_of_candidates": _rounded(scoring.ranking.by_candidate),
        "repeats": scoring.ranking.repeats,
        "rule": scoring.selection.rule,
        "duplicates": scoring.selection.duplicates,
        "selection_reason": scoring.selection.reason,
        "reason": f"{scoring.selection.reason} {scoring.gamma.reason}",
        "notes": list(scoring.notes),
    }


def candidate_rows(candidates: tuple[Candidate, ...], scoring: Scoring, *, by_chance: bool) -> list[Json]:
    """A row for every scored candidate, the most helpful first, then those that were drawn without a score.

    The selected ones can be looked at, and the first and last of the scored; the others are told of in a few words, so
    that a large pool does not make a large file.
    """
    scores = [math.nan] * len(candidates) if by_chance else scoring.scores.tolist()
    order = sorted((i for i, value in enumerate(scores) if math.isfinite(value)), key=lambda i: -scores[i])
    chosen = set(scoring.selection.indices)
    shown = {*order[:SHOWN], *order[-SHOWN:], *chosen}
    rows = [_candidate_row(candidates[i], i in chosen, shown=i in shown) for i in order]
    for rank, (i, row) in enumerate(zip(order, rows, strict=True), 1):
        row |= {"score": scores[i], "rank": rank}
    return rows + [_candidate_row(candidates[i], True, shown=True) for i in sorted(chosen - set(order))]


def _candidate_row(candidate: Candidate, selected: bool, *, shown: bool) -> Json:
    caption, words = candidate.item.get("caption"), None if candidate.png else candidate.words
    return {
        "id": candidate.id,
        "source": candidate.source,
        "licence": candidate.licence,
        "score": None,
        "rank": None,
        "selected": selected,
        "caption": caption[:CAPTION_CHARACTERS] if caption else caption,
        "text": words[: TEXT_CHARACTERS if shown else BEGINNING] if words else words,
        "characters": len(words) if words else None,
        "thumbnail": candidate.thumbnail() if shown else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else round(value, 3)
