"""How far scores can be trusted: how they repeat, what they find, what retraining says, and what the trial foretold."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import correlation, fmean

from benchmarks.rules import shown_by
from benchmarks.statistics import Record, cluster, estimate, unit
from benchmarks.tables.groups import CONFIRMED_FROM, FAMILIES, GROUPS, best, cell, size, table
from benchmarks.tables.replays import curves_of
from benchmarks.tables.study import NONE, heldout
from core.method.mixing.trial import PRECAUTION, TOLERATED
from core.method.stopping.evidence import Evidence

Forecast = tuple[Evidence, float]  # and what unseen data really gained


def scores_table(facts: list[Record]) -> str:
    """Return how well scores repeat, and how often they found the right source and shuffled data, by n."""

    def rows() -> Iterator[list[str]]:
        for group, belongs in GROUPS.items():
            for n in sorted({fact["n"] for fact in facts if belongs(fact)}):
                mine = [fact for fact in facts if belongs(fact) and fact["n"] == n]
                shares = [[x for fact in mine if (x := fact[name].get("influence")) is not None] for name in SHARES]
                repeats = [[x for fact in mine if (x := fact[name]) is not None] for name in AGREEMENTS]
                yield [group, str(n), *(f"{fmean(x):.2f}" if x else "" for x in [*repeats, *shares])]

    head = "data | n | halves agree on the ranking | on whole sources | on single candidates"
    return table(f"{head} | right source, x chance | shuffled, x chance", rows())


AGREEMENTS = ("reliability", "reliability_of_sources", "reliability_of_candidates")
SHARES = ("right_share", "shuffled_share")


def retraining_table(rows: list[Record]) -> str:
    """Return the rank correlation of scores with exact retraining, and the most that its noise allows."""

    def lines() -> Iterator[list[str]]:
        for score in ("influence", "datainf", "cosine", "kolossov_bartlett", "ceiling"):
            keys = [f"{score}, {part}" for part in ("single", "groups")]
            yield [score, *(f"{fmean(row[key] for row in rows):+.2f}" for key in keys)]

    return table("score | single candidates | groups of eight of one source", lines())


def trials_table(records: list[Record], facts: list[Record]) -> str:
    """Return what the trial on held-out references said, and what mixing then truly did at each run's best step."""

    def rows() -> Iterator[list[str]]:
        for gamma in ("0.25", "0.5"):
            found = true_effects(records, facts, gamma)
            for forecast, said in (("trial", said_by_trial), ("error law", said_by_law)):
                for verdict in ("helps", "neutral", "harms"):
                    values = [(cluster(fact), value) for fact, value in found if said(fact, gamma) == verdict]
                    if values:
                        effect = estimate(values)
                        yield [forecast, f"{float(gamma):g}", verdict, cell(effect), size(effect)]
            if len(found) > 2:
                gains = [-fact["trials"][gamma]["gain"] for fact, _ in found]
                agreement = correlation(gains, [value for _, value in found])
                yield ["trial", f"{float(gamma):g}", "correlation", f"{agreement:.2f}", str(len(found))]

    return table("forecast | gamma | says | true effect on held-out loss | runs (clusters)", rows())


def true_effects(records: list[Record], facts: list[Record], gamma: str) -> list[tuple[Record, float]]:
    """Return what mixing at gamma changed on held-out loss, each run at its best step, with an experiment's facts."""
    arm = f"influence {gamma[1:]}"
    losses = {
        (unit(record), record["arm"]): best(record)
        for record in records
        if record["rule"] == "never" and record["arm"] in (arm, "none")
    }
    tried = [fact for fact in facts if gamma in fact["trials"]]
    both = [(fact, (unit(fact), arm), (unit(fact), "none")) for fact in tried]
    return [(fact, losses[mixed] - losses[plain]) for fact, mixed, plain in both if {mixed, plain} <= losses.keys()]


def said_by_trial(fact: Record, gamma: str) -> str:
    """Return a trial's verdict by the present thresholds, which may be younger than the record."""
    trial = fact["trials"][gamma]
    if trial["gain"] < -max(PRECAUTION * trial["error"], TOLERATED):
        return "harms"
    return "helps" if trial["verdict"] == "helps" else "neutral"


def said_by_law(fact: Record, gamma: str) -> str | None:
    """Return what the error law forecast."""
    verdict: str | None = fact["law_verdict"]
    return verdict


def forecasts_table(claims: list[Record], study: dict[str, list[Record]]) -> str:
    """Return how far forecasts are from what unseen data gained, and how often the interval holds it."""

    def lines() -> Iterator[list[str]]:
        for name, found in forecasts(claims, study).items():
            if found:
                low = fmean(true - told.gain for told, true in found)
                held = [holds(one) for one in found]
                yield [name, f"{100 * low:+.1f}", f"{fmean(held):.0%}", str(len(found))]

    return table("data | gained - forecast, points | the 90 % interval holds it | runs", lines())


def forecasts(claims: list[Record], study: dict[str, list[Record]]) -> dict[str, list[Forecast]]:
    """Return every forecast on record, by family; seeds that the interval was not chosen on stand apart."""
    late = CONFIRMED_FROM["nano"]
    found: dict[str, list[Forecast]] = {
        f"small LM, seeds 0 to {late - 1}": [_claimed(row) for row in claims if row["seed"] < late],
        f"small LM, seeds from {late} on": [_claimed(row) for row in claims if row["seed"] >= late],
    }
    plain = {unit(run): run for run in study["records"] if run["arm"] == NONE}
    for fact in {unit(fact): fact for fact in study["facts"] if fact["family"] != "nano"}.values():
        run = plain[unit(fact)]
        gained = 1 - heldout(run, run["published"])
        found.setdefault(FAMILIES[fact["family"]], []).append((shown_by(curves_of(fact["folds"])), gained))
    return found


def holds(forecast: Forecast) -> bool:
    """Tell whether the interval holds what was gained."""
    low, high = forecast[0].interval
    return low <= forecast[1] <= high


def _claimed(row: Record) -> Forecast:
    told = {name: row[name] for name in ("gain", "standard_error", "spread")}
    return Evidence(0, 1.0, confidence="low", at_end=False, references=row["n"], **told), row["true"]


def bias_table(rows: list[Record]) -> str:
    """Return by how much trials were better than the truth, by what each surrogate was tried with."""

    def lines() -> Iterator[list[str]]:
        for how, words in TRIED_WITH.items():
            true = "random" if how == "random" else "selected"
            found = [(row["cluster"][1], row["tried"][how] - row["true"][true]) for row in rows]
            mean = estimate(found)
            yield [words, cell(mean), size(mean)]

    head = "each surrogate was tried with | gain in the trial - on unseen data | trials (seeds)"
    return table(head, lines() if rows else ())


TRIED_WITH = {
    "same": "what all folds selected, its own among them",
    "others": "what the other folds selected",
    "random": "a draw",
}
