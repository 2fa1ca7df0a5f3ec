"""The final run as the stopping rules see it: what is measured when, which copies are kept, and what came out."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace

from core.method.backbones.backbone import Backbone, Batch, Draw, count
from core.method.backbones.shapes import sizes_of
from core.method.lora.adapter import Adapter, from_stack
from core.method.stopping.evidence import Confidence, Evidence, SurrogateCurves
from core.method.stopping.matched_loss import MatchedLoss
from core.method.stopping.rule import Evaluation, RuleName, StopRule
from core.method.stopping.rules import Auto, CSFluctuation, stop_rules
from core.method.stopping.similarity import CosineSimilarity
from core.method.stopping.window import WINDOWS_TO_CONFIRM, Window, calibrate_window
from core.method.training.loop import Step, evaluate
from core.method.training.resuming import State
from core.parameters.parameters import Parameters
from core.parameters.schedule import WATCHED_EVERY, evaluation_grid, look_ahead, step_budget

GALLERY = 7  # kept steps up to the end, from which samples are judged
GALLERY_BEGINS = 0.5  # of the step that the surrogates ask for: what can be seen may be there before


@dataclass(frozen=True)
class Outcome:
    """Say which step is published and why, and everything else a person may want to take instead."""

    published_step: int
    rule: RuleName
    reason: str
    turning_point_step: int | None
    matched_loss_step: int | None
    last_step: int
    stopped_early: bool
    confidence: Confidence | None  # None where nothing could be held out
    informative: bool  # whether CS-Fluctuation stood clear of its own noise
    peak_to_noise: float | None  # its highest value over its noise floor there; None where it never filled its windows
    window: Window
    kept: Mapping[str, int]  # label -> step: published, turning_point, matched_loss, last
    gallery: tuple[int, ...]  # all kept steps, from early to late
    proposals: Mapping[str, tuple[int, str]]  # what every rule would have published, and its sentence
    ended_by_turning: bool = False  # whether CS-Fluctuation ended the run
    valleys: tuple[int, ...] = ()  # of CS-Fluctuation, up to the turning point

    def favouring(self, step: int | None, reason: str, by: str) -> Outcome:
        """Return the outcome that publishes what the samples favour; only `auto` lets them decide.

        `by` names them among the proposals: pictures or answers. Where they favour none, their reason is told too.
        """
        proposals = {**self.proposals, by: (self.published_step if step is None else step, reason)}
        if step is None or self.rule != "auto":
            told = f"{self.reason} {reason}".strip() if step is None else self.reason
            return replace(self, reason=told, proposals=proposals)
        return replace(
            self, published_step=step, reason=reason, kept={**self.kept, "published": step}, proposals=proposals
        )

    def choosing(self, step: int, reason: str) -> Outcome:
        """Return the outcome that publishes the kept step that the owner of the job chose, and knows no other."""
        kept = {**self.kept, "published": step}
        return replace(self, published_step=step, rule="owner", reason=reason, kept=kept, gallery=(step,))


class FinalRun:
    """Measure the adapter on schedule, show it to every rule, and keep the copies that a rule may still name."""

    def __init__(
        self,
        backbone: Backbone,
        references: Batch,
        p: Parameters,
        curves: SurrogateCurves,
        gamma: float,
        snapshots: MutableMapping[int, Adapter],
    ) -> None:
        self.backbone, self.p, self.gamma, self.snapshots = backbone, p, gamma, snapshots
        self.evidence = evidence = curves.evidence()
        self.budget = step_budget(p.max_steps, gamma) if "max_steps" in p.reasons else p.max_steps
        stretch = (1 - curves.gamma) / (1 - gamma)  # references that fill a smaller share of the batches take longer
        self.window = _window(p, evidence, self.budget, stretch)
        self.rules = stop_rules(
            evidence,
            self.window.evaluations,
            self.budget,
            learning_rate=p.learning_rate,
            semantics=p.cs_semantics,
            stretch=stretch,
            look_ahead=look_ahead(p.kind, p.learns, past_best=p.past_best),
        )
        self.chosen: StopRule = self.rules.get(p.stop, self.rules["auto"])
        self.gallery = gallery_steps(self.rules.get("matched_loss"), self.budget)
        self.similarity = CosineSimilarity(backbone.lora.weights())
        self._sets: dict[str, tuple[Batch, list[Draw]]] = {}
        self._add("reference_loss", references)
        self._losses_at = {*evaluation_grid(self.budget), *self.gallery, *self._latest_match()}
        # what only people look at: a third of the grid is enough, and texts are slow to evaluate
        rare = evaluation_grid(self.budget)[::WATCHED_EVERY]
        self._watched_at = {*rare, *self.gallery, *self._latest_match(), self.budget}
        self._last = 0
        self._shown: list[Evaluation] = []  # to the rules so far

    def watch(self, *, probe: Batch | None, heldout: Batch | None) -> None:
        """Also follow the loss on backbone data outside the replay and on held-out data."""
        self._add("probe_loss", probe)
        self._add("heldout_loss", heldout)

    @property
    def ended(self) -> bool:
        """Tell whether the chosen rule needs no further step."""
        return self.chosen.stopped

    def measure(self, step: Step, adapter: Adapter, average: Adapter) -> Step:
        """Return the step with what its schedule measures, after the rules have seen it and a copy is kept.

        The `average` of the weights is what is kept, and what losses are of; similarity is that of the newest.
        """
        self._last = step.step
        losses = step.step in self._losses_at
        similar = step.step > 0 and step.step % self.window.interval == 0
        if not (losses or similar or step.step == self.budget):
            return step
        step = replace(step, looked_at=step.step == 0 or step.step in self.gallery)
        if losses:
            step = self._with_losses(step, average)
        if similar:
            step = replace(step, similarity=_finite(float(self.similarity(adapter)[0])))
        if step.step == 0:
            assert step.reference_loss is not None
            step = replace(step, loss=(step.reference_loss,), gradient_norm=(0.0,))
        else:
            self.snapshots[step.step] = average.clone()
        self._show(Evaluation(step.step, step.similarity, step.reference_loss))
        self._let_go()
        turning = self._turning
        return replace(
            step,
            fluctuation=turning.fluctuation,
            fluctuation_step=turning.speaks_of,
            turning_point=turning.turning_point,
            valleys=tuple(turning.detector.found),
        )

    def outcome(self) -> Outcome:
        """Name the step to publish and let go of every copy that nothing names."""
        matched = self.rules.get("matched_loss")
        labels = {
            "published": self.chosen.published_step,
            "turning_point": self._turning.turning_point,
            "matched_loss": matched.published_step if matched and matched.stopped else None,
            "last": self._last,
        }
        kept = {label: step for label, step in labels.items() if step is not None}
        gallery = sorted({*kept.values(), *(self.gallery & set(self.snapshots))})
        for step in set(self.snapshots) - set(gallery):
            del self.snapshots[step]
        return Outcome(
            published_step=kept["published"],
            rule=self.chosen.name,
            reason=self.chosen.reason,
            turning_point_step=labels["turning_point"],
            matched_loss_step=labels["matched_loss"],
            last_step=self._last,
            stopped_early=self._last < self.budget,
            confidence=self.evidence.confidence if self.evidence else None,
            informative=self._turning.detector.informative,
            peak_to_noise=_finite(self._turning.detector.peak_to_noise),
            window=self.window,
            kept=kept,
            gallery=tuple(gallery),
            proposals={name: (rule.published_step, rule.reason) for name, rule in self.rules.items()},
            ended_by_turning=isinstance(self.chosen, Auto | CSFluctuation) and self.chosen.ended_by_turning,
            valleys=tuple(self._turning.detector.found),
        )

    def state(self) -> State:
        """Return what the rules have seen, from which they can be brought to where they are, and the kept copies."""
        shown = [list(vars(evaluation).values()) for evaluation in self._shown]
        values = {"shown": shown, "last": self._last, "gallery": sorted(self.gallery)}
        return State(values, kept={str(step): copy.tensors() for step, copy in self.snapshots.items()})

    def understands(self, state: State) -> bool:
        """Tell whether a state is of a run that kept the same steps: its copies are those that the rules may name.

        A version with other rules has let go of copies that the rules of this one name.
        """
        return bool(state.values.get("gallery") == sorted(self.gallery))

    def restore(self, state: State) -> None:
        """Go to where another final run of the same make stood."""
        for row in state.values["shown"]:
            self._show(Evaluation(*row))
        self._last = state.values["last"]
        for step, tensors in state.kept.items():
            self.snapshots[int(step)] = from_stack(tensors, self.p.rank, self.p.alpha)

    def _show(self, evaluation: Evaluation) -> None:
        self._shown.append(evaluation)
        for rule in self.rules.values():
            rule.update(evaluation)

    @property
    def _turning(self) -> CSFluctuation:
        rule = self.rules["cs_fluctuation"]
        assert isinstance(rule, CSFluctuation)
        return rule

    def _latest_match(self) -> set[int]:
        """Return the step at which the matched loss stops at the latest; the grid may pass it by."""
        rule = self.rules.get("matched_loss")
        return {rule.cap} if isinstance(rule, MatchedLoss) else set()

    def _add(self, name: str, batch: Batch | None) -> None:
        if batch is not None:
            draws = self.backbone.fixed_draws(self.p.draws_eval, count(batch), self.p.seed, **sizes_of(batch))
            self._sets[name] = (batch, draws)

    def _with_losses(self, step: Step, adapter: Adapter) -> Step:
        wanted = self._sets if step.step in self._watched_at else ["reference_loss"]
        found = {name: float(evaluate(self.backbone, adapter, *self._sets[name]).mean()) for name in wanted}
        return replace(
            step,
            reference_loss=found["reference_loss"],
            heldout_loss=found.get("heldout_loss"),
            probe_loss=found.get("probe_loss"),
        )

    def _let_go(self) -> None:
        wanted = self.gallery.union(*(rule.may_publish for rule in self.rules.values()))
        for step in set(self.snapshots) - wanted:
            del self.snapshots[step]


def _window(p: Parameters, evidence: Evidence | None, budget: int, stretch: float) -> Window:
    """Return the window asked for, or the one that fits t*; a given interval stays as it is."""
    if isinstance(p.window, int):
        asked = f"The window of {p.window} evaluations was asked for."
        return Window(p.window, p.interval, f"The window: {p.reasons['window']}" if "window" in p.reasons else asked)
    window = calibrate_window(evidence.best_step * evidence.scale * stretch if evidence else None, budget)
    if "interval" in p.reasons:
        return window
    evaluations = max(2, round(window.steps / p.interval))
    told = f"The window is {evaluations} evaluations, {p.interval} steps apart as was asked for"
    return Window(evaluations, p.interval, f"{told}, instead of {window.evaluations}, {window.interval} apart.")


def gallery_steps(matched: StopRule | None, budget: int) -> frozenset[int]:
    """Return steps from before the matched loss to the longest the run may last, evenly spaced in log steps."""
    if isinstance(matched, MatchedLoss):
        first, last = GALLERY_BEGINS * matched.cap, min(budget, matched.horizon)
    else:
        first, last = budget / WINDOWS_TO_CONFIRM, budget
    ratio = (last / first) ** (1 / (GALLERY - 1))
    return frozenset(max(1, min(budget, round(first * ratio**place))) for place in range(GALLERY))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
