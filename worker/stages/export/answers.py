"""What the adapter answers at its kept steps, and at which of them in the voice or the shape of the references."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.method.backbones.backbone import IGNORED
from core.method.backbones.language import LanguageBackbone
from core.method.stopping.answer_evidence import Answered, choose
from core.method.stopping.voice import learn_voice, repeats_itself
from core.method.training.final_run import Outcome
from core.parameters.schedule import HELD_OUT_ASKED, LISTENED
from core.references.answer_format import answer_of, last_answer, read_shape
from core.references.items import TextItem
from worker.protocol import Line
from worker.stages.context import Context, ProgressClock
from worker.stages.export.samples import Gallery, marks, rows
from worker.stages.references import read_references
from worker.stages.surrogate import read_surrogate

FEWEST_TOKENS, MOST_TOKENS = 48, 192  # of an answer; between them as many as the references' take, and a little more
MOST_SHAPED_TOKENS = 768  # of an answer in a shape: cut short it is not valid
ROOM = 1.25
SHAPED, VOICED = "have the shape of the references", "have the voice of the references"

Question = Mapping[str, Any]  # an item without its answer, as LanguageBackbone.answer takes it


@dataclass(frozen=True)
class Judge:
    """Tells of an answer whether it is what was to be learned."""

    fits: Callable[[str], bool]
    what: str  # as in "6 answers have the voice of the references"
    sentence: str
    shows: Callable[[str], bool] | None = None  # of an unrelated answer, whether it is touched; None: as `fits`


class Asking:
    """The questions that are put at every kept step: never trained on, and unrelated ones."""

    def __init__(self, context: Context, backbone: LanguageBackbone, items: Sequence[TextItem]) -> None:
        self.backbone = backbone
        self.longest = _longest(context)
        system, chats = shared_system(items), all(item.messages is not None for item in items)
        asked = [(prompt, with_system(prompt, system, chats)) for prompt in context.p.sample_prompts]
        if context.folder.validation.is_dir():
            held_out = [item for item in read_references(context.folder.validation).items if isinstance(item, TextItem)]
            found = [(question, asked_of(item)) for item in held_out if (question := question_of(item))]
            asked += found[:HELD_OUT_ASKED]
        self.new = asked
        self.unrelated = [(prompt, with_system(prompt, None, chats)) for prompt in context.p.unrelated_prompts]
        trained = {question for item in items for question in _questions(item)}
        self.called = "the sampled questions" if any(question in trained for question, _ in asked) else "new questions"

    def answers(self) -> list[tuple[str, str, str]]:
        """Return role, question and answer of each, from whatever adapter is in use."""
        said = self.backbone.answer([item for _, item in self.new + self.unrelated], max_new_tokens=self.longest)
        roles = ["subject"] * len(self.new) + ["unrelated"] * len(self.unrelated)
        questions = [question for question, _ in self.new + self.unrelated]
        return list(zip(roles, questions, said, strict=True))


def write(
    context: Context, backbone: LanguageBackbone, outcome: Outcome, folder: Path, pace: ProgressClock
) -> Generator[Line, None, Gallery]:
    """Answer the questions at every kept step, and let the answers choose beside the loss (stop="auto" only)."""
    items = [item for item in read_references(context.folder.references).items if isinstance(item, TextItem)]
    asking = Asking(context, backbone, items)
    steps, said = [0, *outcome.gallery], dict[int, list[tuple[str, str, str]]]()
    for done, step in enumerate(steps, 1):
        adapter = context.checkpoint(step).to(backbone.device) if step else None
        with backbone.lora.use(adapter):
            said[step] = asking.answers()
        yield pace.at(done)
    judge = judge_of(context, backbone, items, asking.longest)
    gallery = Gallery(outcome)
    if judge is not None:
        judged = [_counted(step, said[step], judge) for step in steps]
        evidence = choose(judged, outcome.published_step, outcome.reason, judge.what, asking.called)
        gallery.outcome = outcome.favouring(evidence.published_step, evidence.reason, "answers")
        gallery.answers = [vars(one) for one in judged]
        told = told_of(judged, gallery.outcome.published_step, judge, context.p.learns, asking.called)
        gallery.reasons["answers"] = " ".join([judge.sentence, *_blind(context, items, judge, asking.longest), *told])
    for step in steps:
        gallery.rows += rows(step, marks(gallery.outcome, step), said[step], folder)
    return gallery


def judge_of(context: Context, backbone: LanguageBackbone, items: Sequence[TextItem], longest: int) -> Judge | None:
    """Return what tells a fitting answer: the references' shape where that is to be learned, else their voice."""
    shape = read_shape(items) if context.p.learns == "format" else None
    if shape is not None and shape.fits is not None:
        return Judge(shape.fits, SHAPED, shape.sentence)
    pairs = [(asked_of(item), answer) for item in items if question_of(item) and (answer := answer_of(item))]
    pairs = pairs[:LISTENED]
    if not pairs:
        return None
    with backbone.lora.use(None):
        plain = backbone.answer([item for item, _ in pairs], max_new_tokens=longest)
    voice = learn_voice([answer for _, answer in pairs], plain)
    if voice is None:
        return None
    sentence = (
        f"Words tell {voice.told_apart:.0%} of the references' answers and the backbone's own apart"
        + (f", above all {', '.join(voice.marks)}" if voice.marks else "")
        + "; they do not say how well an answer reads. An answer that runs in a circle is counted only where the "
        "question is unrelated."
    )
    return Judge(lambda answer: voice.heard_in(answer) and not repeats_itself(answer), VOICED, sentence, voice.heard_in)


def told_of(
    judged: Sequence[Answered], step: int, judge: Judge, preset: str, questions: str = "new questions"
) -> list[str]:
    """Say how new and unrelated questions are answered at the published step, and before training."""
    before, here = judged[0], next(one for one in judged if one.step == step)
    told = [
        f"At step {step}, {here.fitting} of {here.asked} answers to {questions} {judge.what}; before training "
        f"{before.fitting}."
    ] * bool(here.asked)
    if here.unrelated_asked:
        unrelated = f"Of {here.unrelated_asked} unrelated questions {here.unrelated_fitting} are answered so"
        told.append(f"{unrelated}, before training {before.unrelated_fitting}.")
    if preset == "format" and judge.what == SHAPED and here.unrelated_fitting > before.unrelated_fitting:
        told.append("Send the adapter only what shall be answered in this shape: it answers other questions so too.")
    return told


def _blind(context: Context, items: Sequence[TextItem], judge: Judge, longest: int) -> list[str]:
    """Say how the surrogates answer some questions of references that they have not seen; only for a shape."""
    surrogate, backbone = read_surrogate(context), context.backbone
    folds = surrogate.curves.folds
    if context.p.learns != "format" or not all(folds) or not isinstance(backbone, LanguageBackbone):
        return []
    fitting = asked = 0
    for run, questions in enumerate(unseen(items, folds)):
        if questions:
            with backbone.lora.use(surrogate.adapter.select(run).to(backbone.device)):
                said = backbone.answer(questions, max_new_tokens=longest)
            fitting, asked = fitting + sum(map(judge.fits, said)), asked + len(said)
    return [f"Surrogates, blind to them, answered {fitting} of {asked} of the references' questions so."] * bool(asked)


def unseen(items: Sequence[TextItem], folds: Sequence[Sequence[int]]) -> list[list[Question]]:
    """Return questions that each surrogate has not seen: a few of each, however many references there are."""
    each = math.ceil(LISTENED / len(folds))
    return [[asked_of(items[at]) for at in fold if question_of(items[at])][:each] for fold in folds]


def _counted(step: int, said: Sequence[tuple[str, str, str]], judge: Judge) -> Answered:
    new, unrelated = ([text for role, _, text in said if role == wanted] for wanted in ("subject", "unrelated"))
    touched = sum(map(judge.shows or judge.fits, unrelated))
    return Answered(step, len(new), sum(map(judge.fits, new)), len(unrelated), touched)


def question_of(item: TextItem) -> str | None:
    """Return what the last answer that is learned of a text answers to; None where there is nothing."""
    asked = _questions(item)
    return asked[-1] if asked else None


def _questions(item: TextItem) -> list[str]:
    """Return all that is asked before the last answer that is learned."""
    before = (item.messages or ())[: last_answer(item)]
    asked = [str(message["content"]) for message in before if message["role"] == "user"]
    return [item.prompt, *asked] if item.prompt else asked


def asked_of(item: TextItem) -> Question:
    """Return an item up to the last answer that is learned."""
    if item.messages is not None:
        return {"messages": list(item.messages[: last_answer(item)])}
    return {"prompt": item.prompt}


def shared_system(items: Sequence[TextItem]) -> str | None:
    """Return the system prompt that all references have."""
    found = {
        next((str(message["content"]) for message in item.messages or () if message["role"] == "system"), None)
        for item in items
    }
    return found.pop() if len(found) == 1 else None


def with_system(prompt: str, system: str | None, chats: bool = False) -> Question:
    """Return a question as the references ask theirs; without a template, chats are written otherwise than prompts."""
    asked = {"role": "user", "content": prompt}
    if system is None:
        return {"messages": [asked]} if chats else {"prompt": prompt}
    return {"messages": [{"role": "system", "content": system}, asked]}


def _longest(context: Context) -> int:
    """Return how many tokens an answer may take: a little more than the longest of the references'."""
    learned = (context.references()["labels"] != IGNORED).sum(1).max()
    most = MOST_SHAPED_TOKENS if context.p.learns == "format" else MOST_TOKENS
    return min(most, max(FEWEST_TOKENS, math.ceil(ROOM * int(learned))))
