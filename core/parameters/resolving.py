"""One frozen set of parameters from the request to the last stage; every "auto" becomes a value with a reason."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from core.backbones.families import DeviceClass
from core.backbones.record import BackboneRecord
from core.backbones.taggers import NONE
from core.parameters import memory, sample_prompts
from core.parameters.contradictions import check
from core.parameters.defaults import DEFAULT_PRESET, SHAPED_PRESET, STARTING_POINTS, STYLE_ALWAYS_DROPOUT
from core.parameters.parameters import Parameters
from core.parameters.presets import RANGES, Presets, built_in
from core.parameters.protection.settling import Protecting
from core.parameters.request import MAX_RUN_STEPS, BatRequest, Hyperparameters, StopName
from core.parameters.sample_prompts import Captions, Chosen
from core.parameters.summary import ReferenceSummary
from core.references.captions import filled, taken
from core.references.picture_shapes import usual_most


def resolve(
    request: BatRequest,
    hyperparameters: Hyperparameters | None = None,
    *,
    backbone: BackboneRecord,
    summary: ReferenceSummary,
    device_class: DeviceClass,
    seed: int,
    stop_default: StopName = "auto",
    presets: Presets | None = None,
    taggers: Collection[str] = (),
) -> Parameters:
    """Turn a request into parameters, with a reason for everything that was "auto"; raise InvalidInput as `check`."""
    presets = presets or built_in()
    check(request, backbone, summary.kind, summary.count, presets=presets, taggers=taggers)
    settling = _Settling(request, hyperparameters or Hyperparameters(), backbone, summary, device_class, presets)
    settling.settle_task()
    settling.settle_shapes()
    settling.settle_words()
    settling.settle_captions(taggers)
    settling.settle_adapter()
    settling.settle_loss()
    settling.settle_schedule()
    settling.settle_augmentation()
    settling.settle_stopping(stop_default)
    settling.settle_memory()
    return Parameters(
        backbone=backbone.id,
        kind=summary.kind,
        seed=seed,
        device_class=device_class,
        score=request.score,
        cs_semantics=request.cs_semantics,
        masks=request.masks,
        merged=request.merged,
        past_best=request.past_best,
        reasons=settling.reasons,
        **settling.values,
    )


class _Settling:
    """Settles one value after another: what was asked for stays, "auto" becomes a value and leaves a reason."""

    def __init__(
        self,
        request: BatRequest,
        hyperparameters: Hyperparameters,
        backbone: BackboneRecord,
        summary: ReferenceSummary,
        device_class: DeviceClass,
        presets: Presets,
    ) -> None:
        self.request, self.hyperparameters, self.backbone, self.summary = request, hyperparameters, backbone, summary
        self.preset = presets[self._preset_name() if request.preset == "auto" else request.preset]
        self.usually = {"dropout_caption": 0.0, **STARTING_POINTS[backbone.kind, device_class], **backbone.defaults}
        self.table = self.preset.changed(self.usually)
        self.device_class = device_class
        self.device = "a GPU" if device_class == "cuda" else "a CPU"
        self.values: dict[str, Any] = {}  # checked by Parameters, which is made of them
        self.reasons: dict[str, str] = {}

    def _preset_name(self) -> str:
        return SHAPED_PRESET if self.summary.shape else DEFAULT_PRESET[self.summary.kind]

    def settle(self, name: str, value: object, reason: str) -> None:
        """Keep what the request says of `name`; where that is "auto", take `value` for the reason given."""
        asked = getattr(self.request, name)
        self.values[name] = value if asked == "auto" else asked
        if asked == "auto":
            self.reasons[name] = reason

    def usual(self, name: str) -> str:
        """Say where the starting point of `name` comes from."""
        change, preset = self.preset.values.get(name), self.preset.named
        if change is not None and change.value is not None:
            return f"{change.value:g} is set by {preset}: {change.why}"
        if change is not None and change.passes is not None:
            looks = f"{change.passes} passes over {self.summary.count} references in batches of"
            return f"{looks} {self.values['batch_size']} are set by {preset}: {change.why}"
        value = self.usually[name]
        words = f"{value:g} is our usual value for {self.summary.kind} on {self.device}"
        if name in self.backbone.defaults:
            words = f"{value:g} is registered for {self.backbone.id}"
        return words if change is None else f"{words}, times {change.times:g} by {preset}: {change.why}"

    def settle_task(self) -> None:
        kind, table = self.summary.kind, self.table
        self.settle("preset", self.preset.name, self._why_preset())
        self.values["preset_version"] = self.preset.version
        self.values["preset_basis"] = self.preset.alias_of
        self.values["resolution"] = self.values["max_tokens"] = None
        if kind == "images":
            size = self.backbone.resolution or int(table["resolution"])
            why = f"{self.backbone.id} is registered for images of {size} pixels."
            self.settle(
                "resolution", size, why if self.backbone.resolution else f"{self.usual('resolution')}, in pixels."
            )
        else:
            places, usual = self.backbone.context_tokens, int(table["max_tokens"])
            why = f"{self.usual('max_tokens')}; of what is longer a part is left out."
            if places is not None and places < usual:
                usual, why = places, f"{self.backbone.id} has places for {places} tokens and no more."
            self.settle("max_tokens", usual, why)

    def settle_shapes(self) -> None:
        """Settle how many shapes pictures are trained in; which, their sizes say: core.references.picture_shapes."""
        if (side := self.values["resolution"]) is None:
            self.values["shapes"] = 1
        else:
            self.settle("shapes", *usual_most(side))

    def settle_words(self) -> None:
        """Settle what captions say and leave out, and what the adapter is asked for while it is judged."""
        self.settle("caption_lines", "draw", self.summary.lines_told)
        self.settle("style_always", False, self._why_asked())
        always = bool(self.values["style_always"])
        self.values |= {"trigger": self.request.trigger, "add_trigger": self.preset.add_trigger and not always}
        hint = self.backbone.trigger_hint
        if always:
            self.reasons["trigger"] = "The style is to come without being asked for, so no word is put into captions."
        elif self.request.trigger is None and self.summary.kind == "images" and hint:
            self.values["trigger"] = hint
            self.reasons["trigger"] = f"{hint!r} is the word that is registered for {self.backbone.id}."
        dropped = float(self.table["dropout_caption"])
        why = f"{self.usual('dropout_caption')}." if dropped else "No caption is left out."
        if always:
            dropped = STYLE_ALWAYS_DROPOUT
            why = "A style that is to come without being asked for is also trained without captions; not measured."
        self.settle("dropout_caption", dropped, why)
        self._settle_prompts()

    def _why_asked(self) -> str:
        if self.preset.is_style:
            return "A style comes when its trigger is in the prompt, unless the request says that it comes always."
        return f"{self.preset.name} is no style."

    def _settle_prompts(self) -> None:
        sampled, unrelated = self._text_prompts() if self.summary.kind == "texts" else self._image_prompts()
        self.values["sample_prompts"] = self._asked() or sampled.prompts
        if not self.request.sample_prompts:
            self.reasons["sample_prompts"] = sampled.why
        self.values["unrelated_prompts"], self.reasons["unrelated_prompts"] = unrelated

    def _asked(self) -> tuple[str, ...]:
        """Return the prompts of the request, each once, with the trigger where they hold a placeholder for it."""
        pictures, asked = self.summary.kind != "texts", self.request.sample_prompts
        return tuple(dict.fromkeys(filled(words, self.values["trigger"]) if pictures else words for words in asked))

    def _text_prompts(self) -> tuple[Chosen, Chosen]:
        asked = self.summary.prompts
        sampled = sample_prompts.questions(asked)
        chosen = self._asked() or sampled.prompts
        return sampled, sample_prompts.beside_questions(self.backbone, asked, chosen)

    def _image_prompts(self) -> tuple[Chosen, Chosen]:
        values = self.values
        how, trigger = values["caption_lines"], values["trigger"]
        written = ["\n".join(taken(words, how, trigger)) for words in self.summary.prompts]
        captions = Captions(written, self.backbone, trigger, values["add_trigger"])
        if self.preset.is_style:
            always = values["style_always"]
            return sample_prompts.style(captions), sample_prompts.beside_style(captions, always)
        sampled = sample_prompts.subject(captions)
        chosen = self._asked() or sampled.prompts
        return sampled, sample_prompts.beside_subject(captions, chosen)

    def _why_preset(self) -> str:
        if self.summary.shape:
            return f"{self.summary.shape} So the shape of answers is taken for what shall be learned."
        words = f"References that are {self.summary.kind} are taken for {self.preset.description}"
        return f"{words}; name style or face where they are." if self.summary.kind == "images" else f"{words}."

    def settle_captions(self, taggers: Collection[str]) -> None:
        bare, chosen = self.summary.uncaptioned, NONE
        if not bare:
            why = "Every image has its caption." if self.summary.kind == "images" else "Texts have no captions."
        elif taggers:
            chosen = next(iter(taggers))
            why = f"{bare} images have no caption, and the tagger {chosen} is registered here."
        else:
            named = "only the trigger word names them" if self.values["trigger"] else "no words name them"
            why = f"{bare} images have no caption and no tagger is registered, so {named}."
        self.settle("caption", chosen, why)

    def settle_adapter(self) -> None:
        table, asked = self.table, self.hyperparameters
        self.settle("rank", int(table["rank"]), f"{self.usual('rank')}.")
        rank = self.values["rank"]
        self.settle("alpha", float(table["alpha"] * rank), f"Alpha is {table['alpha']:g} times the rank of {rank}.")
        rate, why = float(table["learning_rate"]), self.usual("learning_rate")
        if asked.learning_rate_multiplier != "auto":
            rate *= asked.learning_rate_multiplier
            why += f", and the request multiplies it by {asked.learning_rate_multiplier:g}"
        self.settle("learning_rate", rate, f"{why}.")

    def settle_loss(self) -> None:
        why = "Texts are learned without noise."
        if self.summary.kind == "images":
            why = "All timesteps count alike, unless a request asks for another weighting."
        self.settle("min_snr", None, why)

    def settle_schedule(self) -> None:
        table, asked, count = self.table, self.hyperparameters, self.summary.count
        batch, why = int(table["batch_size"]), f"{self.usual('batch_size')}; there are {count} references."
        if batch > count:
            batch = count
            why = f"{self.usual('batch_size')}; there are only {count} references, and a batch holds each of them once."
        if asked.batch_size != "auto":
            batch, why = asked.batch_size, "It is the batch size of the request's hyperparameters."
        self.settle("batch_size", batch, why)
        steps, why = self._steps("max_steps") or int(table["max_steps"]), self.usual("max_steps")
        if steps > MAX_RUN_STEPS:
            steps, why = MAX_RUN_STEPS, f"A run has {MAX_RUN_STEPS:,} steps at most, though {why}"
        if asked.n_epochs != "auto":
            steps = min(MAX_RUN_STEPS, math.ceil(asked.n_epochs * count / self.values["batch_size"]))
            why = f"{asked.n_epochs} epochs of {count} references in batches of {self.values['batch_size']}"
        self.settle("max_steps", steps, f"{why}; training may stop earlier.")
        self._settle_surrogates()
        for name in ("draws_score", "draws_eval"):
            self.values[name] = int(table[name])
            self.reasons[name] = f"{self.usual(name)}; more draws of noise make a loss more exact and slower."

    def _steps(self, name: str) -> int | None:
        """Return the optimizer steps of as many passes as the preset lets `name` take; None where it does not."""
        change = self.preset.values.get(name)
        if change is None or change.passes is None:
            return None
        return math.ceil(change.passes * self.summary.count / self.values["batch_size"])

    def _settle_surrogates(self) -> None:
        """Let the surrogates' budget follow the run's, unless the preset sets it: our own rule."""
        longest = self.values["max_steps"]
        if "surrogate_steps" in self.preset.values:
            steps, why = int(self.table["surrogate_steps"]), self.usual("surrogate_steps")
            return self.settle("surrogate_steps", min(steps, longest), f"{why}; never more than max_steps.")
        part, whole = self.usually["surrogate_steps"], self.usually["max_steps"]
        steps = min(longest, max(1, math.ceil(longest * part / whole - 1e-9)))
        known = {"surrogate_steps", "max_steps"} & set(self.backbone.defaults)
        source = f"is registered for {self.backbone.id}" if known else f"is usual on {self.device}"
        why = f"{steps} of {longest} steps: the share that {source}, {part:g} of {whole:g}, so that both grow together."
        self.settle("surrogate_steps", steps, why)

    def settle_augmentation(self) -> None:
        """Settle by what means the backbone is protected, and with what: core.parameters.protection.settling."""
        table, request = self.table, self.request
        protecting = Protecting(request, self.preset, self.backbone)
        why, augment = protecting.reasons(), protecting.means != "none"
        self.settle("augment", augment, why["augment"])
        self.settle("protect", protecting.means, why["protect"])
        self.settle("protect_weight", protecting.weight, why["protect_weight"])
        self.settle("protect_on", protecting.on, why["protect_on"])
        self.settle("gamma", protecting.gamma, why["gamma"])
        self.values["gamma_start"] = protecting.start or None
        if not augment:
            self.reasons["gamma"] = why["gamma"]
        self.values["pool"] = protecting.pool
        if protecting.generates or request.pool == "auto":
            self.reasons["pool"] = protecting.why_pool
        self.settle("selected_count", int(table["selected_count"]), f"{self.usual('selected_count')}.")
        self.settle("sample_ratio", float(table["sample_ratio"]), f"{self.usual('sample_ratio')}.")

    def settle_stopping(self, stop_default: StopName) -> None:
        table, count = self.table, self.summary.count
        self.settle("folds", min(count, int(table["folds"])), f"{self.usual('folds')}; there are {count} references.")
        if self.values["folds"] > count:
            self.values["folds"] = count
            self.reasons["folds"] = f"There are only {count} references, so no more than {count} folds."
        measured = self.request.window == "auto" and "window" not in self.preset.values
        until = ", until the window sets another" if measured else ""
        self.settle("interval", int(table["interval"]), f"{self.usual('interval')}, in steps{until}.")
        self._settle_window()
        told = self.preset.stop
        if told is None:
            return self.settle("stop", stop_default, "It is this service's stopping rule.")
        self.settle("stop", told.rule, f"{told.rule} is set by {self.preset.named}: {told.why}.")

    def _settle_window(self) -> None:
        """Settle M, in evaluations; where nobody says how long it is, the run measures it."""
        if "window" not in self.preset.values:
            why = "The surrogates' best step divided by 1.5 sets it, or a fifth of the budget where that is less."
            return self.settle("window", "auto", why)
        apart = self.values["interval"]
        steps = self._steps("window") or int(self.table["window"]) * apart
        low, high, _ = RANGES["window"]
        count = int(min(high, max(low, round(steps / apart))))
        why = f"{count} evaluations, {apart} step{'s' * (apart > 1)} apart: {self.usual('window')}"
        self.settle("window", count, f"{why}; the adapter's copies of the last {3 * count} are held meanwhile.")

    def settle_memory(self) -> None:
        """Settle how the frozen network and what is computed with it are held: core.parameters.memory."""
        for name, choice in memory.resolved(self.backbone, self.device_class).items():
            self.settle(name, choice.value, choice.why)
