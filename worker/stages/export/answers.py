"""What the adapter answers at its kept steps, and at which of them in the voice or the shape of the references."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.method.backbones.backbone import IGNORED
from core.method.backbones.texts.language import LanguageBackbone
from core.method.lora.adapter import Adapter
from core.method.stopping.answer_evidence import CLEARLY_MORE, Answered, choose
from core.method.stopping.voice import learn_voice, repeats_itself
from core.method.training.final_run import Outcome
from core.parameters.schedule import HELD_OUT_ASKED, LISTENED, OWN_ASKED
from core.references.answer_format import Shape, answer_of, last_answer, read_shape
from core.references.items import TextItem
from worker.protocol import Line
from worker.stages.context import Context, ProgressClock
from worker.stages.export.samples import Gallery, marks, rows
from worker.stages.references import read_references
from worker.stages.surrogate import read_surrogate

FEWEST_TOKENS, MOST_TOKENS = 48, 192  # of an answer; between them as many as the references' take, and a little more
MOST_SHAPED_TOKENS = 768  # of an answer in a shape: cut short it is not valid
ROOM = 1.25
TEMPERATURE = 0.7  # a voice is heard as chats are usually held; a shape is looked for in the most likely answer
OWN = "the references' own questions"
SHAPED, VOICED = "have the shape of the references", "have the voice of the references"

Answer = tuple[str, str, str]  # role, question, answer
Question = Mapping[str, Any]  # an item as LanguageBackbone.answer takes it


@dataclass(frozen=True)
class Judge:
    """Tells of an answer whether it is what was to be learned."""

    fits: Callable[[str], bool]
    what: str  # as in "6 answers have the voice of the references"
    sentence: str
    share: Callable[[str], float] | None = None  # how much of the voice an answer has, 0..1
    shows: Callable[[str], bool] | None = None  # of an unrelated answer, whether it is touched; None: as `fits`


class Asking:
    """The questions that are put at every kept step: new, unrelated, and at need the references' own."""

    def __init__(
        self, context: Context, backbone: LanguageBackbone, items: Sequence[TextItem], temperature: float
    ) -> None:
        self.backbone, self.temperature, self.seed = backbone, temperature, context.p.seed
        self.longest = _longest(context)
        system, chats = shared_system(items), all(item.messages is not None for item in items)
        tools = shared_tools(items)
        asked: list[tuple[str, Question]] = [
            (prompt, with_system(prompt, system, chats) | tools) for prompt in context.p.sample_prompts
        ]
        if context.folder.validation.is_dir():
            held_out = [item for item in read_references(context.folder.validation).items if isinstance(item, TextItem)]
            found = [(question, asked_of(item)) for item in held_out if (question := question_of(item))]
            asked += found[:HELD_OUT_ASKED]
        self.new = asked
        self.unrelated: list[tuple[str, Question]] = [
            (prompt, with_system(prompt, None, chats)) for prompt in context.p.unrelated_prompts
        ]
        if any("</think>" in (answer_of(item) or "") for item in items):  # as they are learned, new ones are asked
            self.new, self.unrelated = (_thinking(some) for some in (self.new, self.unrelated))
        self.own = [(question, asked_of(item)) for item in items if (question := question_of(item))][:OWN_ASKED]
        trained = {question for item in items for question in _questions(item)}
        self.called = "the sampled questions" if any(question in trained for question, _ in asked) else "new questions"

    def said(self, questions: Sequence[Question]) -> list[str]:
        """Return the answers to questions, from whatever adapter is in use."""
        return self.backbone.answer(
            questions, max_new_tokens=self.longest, temperature=self.temperature, seed=self.seed
        )

    def answers(self) -> list[Answer]:
        """Return role, question and answer of each new and unrelated question."""
        said = self.said([item for _, item in self.new + self.unrelated])
        roles = ["subject"] * len(self.new) + ["unrelated"] * len(self.unrelated)
        questions = [question for question, _ in self.new + self.unrelated]
        return list(zip(roles, questions, said, strict=True))

    def own_answers(self) -> list[Answer]:
        """Return role, question and answer of the references' own questions."""
        said = self.said([item for _, item in self.own])
        return [("reference", question, answer) for (question, _), answer in zip(self.own, said, strict=True)]


def asks(context: Context) -> bool:
    """Tell whether anything is asked of kept steps."""
    return bool(context.p.sample_prompts) or (context.p.kind == "texts" and context.folder.validation.is_dir())


def asking_of(context: Context) -> Asking:
    """Return the questions of a job of texts, and how they are asked."""
    items, backbone = texts_of(context), context.backbone
    assert isinstance(backbone, LanguageBackbone)
    return Asking(context, backbone, items, TEMPERATURE if shape_of(context, items) is None else 0.0)


def texts_of(context: Context) -> list[TextItem]:
    """Return the references of a job of texts."""
    return [item for item in read_references(context.folder.references).items if isinstance(item, TextItem)]


def write(
    context: Context,
    backbone: LanguageBackbone,
    outcome: Outcome,
    folder: Path,
    pace: ProgressClock,
    known: Mapping[int, list[Answer]],
) -> Generator[Line, None, Gallery]:
    """Answer the questions at every kept step, and let the answers choose beside the loss (stop="auto" only).

    `known` are the answers of steps that were asked while they were trained.
    """
    items, shape, asking = texts_of(context), shape_of(context, texts_of(context)), asking_of(context)
    steps, said = [0, *outcome.gallery], dict(known)
    for done, step in enumerate(steps, 1):
        if step not in said:
            with backbone.lora.use(_adapter(context, backbone, step)):
                said[step] = asking.answers()
        yield pace.at(done)
    judge = Judge(shape.fits, SHAPED, shape.sentence) if shape and shape.fits else hear(asking, items)
    gallery = Gallery(outcome)
    if judge is not None:
        judged = [_counted(step, said[step], judge) for step in steps]
        if judge.what == SHAPED and all(one.fitting < min(CLEARLY_MORE, one.asked) for one in judged[1:]):
            for step in steps:  # the shape may belong to another kind of question than any new one
                with backbone.lora.use(_adapter(context, backbone, step)):
                    said[step] += asking.own_answers()
                yield pace.at(len(steps))
            judged = [_counted(step, said[step], judge) for step in steps]
        _choose(gallery, judged, judge, asking.called)
        blind = _blind(context, items, judge, asking)
        told = told_of(judged, gallery.outcome.published_step, judge, context.p.learns, asking.called)
        gallery.reasons["answers"] = " ".join([judge.sentence, *blind, *told])
    for step in steps:
        gallery.rows += rows(step, marks(gallery.outcome, step), said[step], folder)
    return gallery


def _adapter(context: Context, backbone: LanguageBackbone, step: int) -> Adapter | None:
    return context.checkpoint(step).to(backbone.device) if step else None


def _choose(gallery: Gallery, judged: Sequence[Answered], judge: Judge, called: str) -> None:
    """Let the answers to new questions choose; those to the references' own where they were asked too."""
    outcome = gallery.outcome
    evidence = choose(judged, outcome.published_step, outcome.reason, judge.what, called)
    if any(one.own_asked for one in judged):
        own = [replace(one, asked=one.own_asked, fitting=one.own_fitting) for one in judged]
        evidence = choose(own, outcome.published_step, outcome.reason, judge.what, OWN)
    gallery.outcome = outcome.favouring(evidence.published_step, evidence.reason, "answers")
    gallery.answers = [vars(one) for one in judged]


def shape_of(context: Context, items: Sequence[TextItem]) -> Shape | None:
    """Return the shape that the references' answers have, where that is what is to be learned."""
    shape = read_shape(items) if context.p.learns == "format" else None
    return shape if shape is not None and shape.fits is not None else None


def hear(asking: Asking, items: Sequence[TextItem]) -> Judge | None:
    """Return what tells the references' voice from the untouched backbone's; None where words do not."""
    pairs = [(asked_of(item), answer) for item in items if question_of(item) and (answer := answer_of(item))]
    pairs = pairs[:LISTENED]
    if not pairs:
        return None
    with asking.backbone.lora.use(None):
        plain = asking.said([item for item, _ in pairs])
    voice = learn_voice([answer for _, answer in pairs], plain)
    if voice is None:
        return None
    sentence = (
        f"Words tell {voice.told_apart:.0%} of the references' answers and the backbone's own apart"
        + (f", above all {', '.join(voice.marks)}" if voice.marks else "")
        + "; they do not say how well an answer reads. An answer that runs in a circle is counted only where the "
        "question is unrelated."
    )
    return Judge(
        lambda answer: voice.heard_in(answer) and not repeats_itself(answer),
        VOICED,
        sentence,
        lambda answer: 0.0 if repeats_itself(answer) else voice.share_in(answer),
        voice.heard_in,
    )


def told_of(
    judged: Sequence[Answered], step: int, judge: Judge, preset: str, questions: str = "new questions"
) -> list[str]:
    """Say how new and unrelated questions are answered at the published step, and before training."""
    before, here = judged[0], next(one for one in judged if one.step == step)
    told = [
        f"At step {step}, {here.fitting} of {here.asked} answers to {questions} {judge.what}; before training "
        f"{before.fitting}."
    ] * bool(here.asked)
    if here.own_asked:
        told.append(
            "Hardly any new question is answered so at any kept step, which is right where the shape belongs to "
            f"another kind of question: asked {OWN}, it answers {here.own_fitting} of {here.own_asked} in this shape; "
            f"before training {before.own_fitting}."
        )
    if here.unrelated_asked:
        unrelated = f"Of {here.unrelated_asked} unrelated questions {here.unrelated_fitting} are answered so"
        told.append(f"{unrelated}, before training {before.unrelated_fitting}.")
    if preset == "format" and judge.what == SHAPED and here.unrelated_fitting > before.unrelated_fitting:
        told.append("Send the adapter only what shall be answered in this shape: it answers other questions so too.")
    return told


def _blind(context: Context, items: Sequence[TextItem], judge: Judge, asking: Asking) -> list[str]:
    """Say how the surrogates answer some questions of references that they have not seen; only for a shape."""
    surrogate, backbone = read_surrogate(context), asking.backbone
    folds = surrogate.curves.folds
    if judge.what != SHAPED or not all(folds):
        return []
    fitting = asked = 0
    for run, questions in enumerate(unseen(items, folds)):
        if questions:
            with backbone.lora.use(surrogate.adapter.select(run).to(backbone.device)):
                said = asking.said(questions)
            fitting, asked = fitting + sum(map(judge.fits, said)), asked + len(said)
    return [f"Surrogates, blind to them, answered {fitting} of {asked} of the references' questions so."] * bool(asked)


def unseen(items: Sequence[TextItem], folds: Sequence[Sequence[int]]) -> list[list[Question]]:
    """Return questions that each surrogate has not seen: a few of each, however many references there are."""
    each = math.ceil(LISTENED / len(folds))
    return [[asked_of(items[at]) for at in fold if question_of(items[at])][:each] for fold in folds]


def _counted(step: int, said: Sequence[Answer], judge: Judge) -> Answered:
    new, unrelated, own = (
        [text for role, _, text in said if role == wanted] for wanted in ("subject", "unrelated", "reference")
    )
    touched = sum(map(judge.shows or judge.fits, unrelated))
    fitting, own_fitting = (sum(map(judge.fits, answers)) for answers in (new, own))
    voice = tuple(round(judge.share(answer), 4) for answer in new) if judge.share else ()
    return Answered(step, len(new), fitting, len(unrelated), touched, len(own), own_fitting, voice)


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
    """Return an item up to the last answer that is learned, and that answer: so it is asked as it was learned.

    An answer that calls functions is left away: only its words stand apart from the marks of a template.
    """
    if item.messages is not None:
        last = last_answer(item)
        asked: dict[str, Any] = {"messages": list(item.messages[:last])}
        asked |= {"tools": list(item.tools)} if item.tools else {}
        answer = item.messages[last]
        return asked if "tool_calls" in answer else asked | {"completion": answer["content"]}
    return {"prompt": item.prompt, "completion": item.completion}


def shared_system(items: Sequence[TextItem]) -> str | None:
    """Return the system prompt that all references have."""
    found = {
        next((str(message["content"]) for message in item.messages or () if message["role"] == "system"), None)
        for item in items
    }
    return found.pop() if len(found) == 1 else None


def shared_tools(items: Sequence[TextItem]) -> dict[str, Any]:
    """Return the tools that all references declare, as part of an item; nothing where some declare others."""
    first = items[0].tools if items else None
    return {"tools": list(first)} if first and all(item.tools == first for item in items) else {}


def with_system(prompt: str, system: str | None, chats: bool = False) -> dict[str, Any]:
    """Return a question as the references ask theirs; without a template, chats are written otherwise than prompts."""
    asked = {"role": "user", "content": prompt}
    if system is None:
        return {"messages": [asked]} if chats else {"prompt": prompt}
    return {"messages": [{"role": "system", "content": system}, asked]}


def _thinking(asked: Sequence[tuple[str, Question]]) -> list[tuple[str, Question]]:
    """Return questions whose answers a template opens so that a thought goes before them."""
    return [(question, {**item, "thoughts": True}) for question, item in asked]


def _longest(context: Context) -> int:
    """Return how many tokens an answer may take: a little more than the longest of the references'."""
    learned = (context.references()["labels"] != IGNORED).sum(1).max()
    most = MOST_SHAPED_TOKENS if context.p.learns == "format" else MOST_TOKENS
    return min(most, max(FEWEST_TOKENS, math.ceil(ROOM * int(learned))))
