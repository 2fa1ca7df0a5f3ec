"""Claims about what the adapter answered at its kept steps, and about the shape of the references' answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from statistics import mean

from benchmarks.reports.records import Json, Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near
from benchmarks.reports.rules.pictures import ROUNDED, step_of
from benchmarks.reports.rules.stopping import CHOSEN, chosen

VOICE = "have the voice of the references"
WHAT = "(?P<what>have the voice of the references|have the shape of the references)"
OWN = "the references' own questions"
FITTING = {"subject": "fitting", "unrelated": "unrelated_fitting", "reference": "own_fitting"}
ASKED = f"(?P<asked>new questions|the sampled questions|{OWN})"


@claim(
    r"Words tell #share% of the references' answers and the backbone's own apart(?P<marks>, above all [^;]+)?; they do "
    r"not say how well an answer reads\."
)
def voice(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    answers = [_words(answer_of(item)) for item in records.items if question_of(item)]
    yield from holds(80 <= int(told["share"]) <= 100, "with less than 80 % there is no voice")
    yield from holds(len(answers) >= 4, f"there are {len(answers)} answers")
    for mark in filter(None, told["marks"].removeprefix(", above all ").split(", ")):
        share = sum(mark in words for words in answers) / max(1, len(answers))
        yield from holds(share >= 0.25, f"{mark!r} is in {share:.0%} of the answers")


@claim(r"An answer that runs in a circle is counted only where the question is unrelated\.")
def circling(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    for row in records.report["answers"]:
        said = texts(records, row["step"], "subject")
        straight = sum(not _circles(text) for text in said)
        holding = row["fitting"] <= straight
        yield from holds(holding, f"{row['fitting']} of step {row['step']} fit, and {straight} do not run in a circle")


def _circles(text: str) -> bool:
    """Whether a clause of four words or more makes up most of a text of some length."""
    words = re.findall(r"\w+|[^\w\s]", text.lower())
    runs = [" ".join(words[at : at + 4]) for at in range(len(words) - 3)]
    return len(runs) >= 12 and len(set(runs)) / len(runs) < 0.6


@claim(
    rf"At step #step, #fitting of #all answers to {ASKED} {WHAT}; before training #before\.",
    r"Of #all unrelated questions #fitting are answered so, before training #before\.",
)
def counted(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    role = "subject" if told.get("step") else "unrelated"
    if told.get("step"):
        yield from near(told["step"], records.published, "the published step")
        yield from asked(records, told)
        yield from meant(records, told)
    for name, step in (("fitting", records.published), ("before", 0)):
        yield from count(records, told[name], step, role)
    yield from near(told["all"], len(texts(records, 0, role)), "the number of questions")


@claim(rf"There #fitting of #all answers to {ASKED} {WHAT}, (?P<most>as many as at|at most #best at) any kept step\.")
def there(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    step = step_of(sentence)
    role = role_of(told)
    yield from count(records, told["fitting"], step, role)
    yield from near(told["all"], len(texts(records, step, role)), "the number of answers")
    yield from asked(records, told)
    yield from meant(records, told)
    best = max(fitting(records, at, role) for at in records.kept())
    yield from near(told.get("best") or told["fitting"], best, "the most at any kept step")


@claim(CHOSEN + rf"there #fitting of #all answers to {ASKED} {WHAT}; at step #other, #fewer\.")
def more_answers(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from chosen(records, told, sentence)
    yield from asked(records, told)
    yield from meant(records, told)
    role = role_of(told)
    yield from count(records, told["fitting"], int(told["step"]), role)
    yield from count(records, told["fewer"], int(told["other"]), role)
    yield from near(told["other"], records.outcome["published_step"], "the step that the rules name")
    best = max(fitting(records, at, role) for at in records.kept())
    yield from holds(int(told["fitting"]) == best >= int(told["fewer"]) + 2, f"the most anywhere is {best}")


@claim(
    CHOSEN
    + r"the first kept step whose answers have at least #share% as much of the references' voice as those of any\."
)
def levelled(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from chosen(records, told, sentence)
    voice, step = voices(records), int(told["step"])
    enough = float(told["share"]) / 100 * max(voice.values())
    yield from holds(voice[step] >= enough - ROUNDED, f"it has {voice[step]}")
    before = {at: much for at, much in voice.items() if at < step}
    yield from holds(all(much < enough + ROUNDED for much in before.values()), f"earlier ones have as much: {before}")


@claim(
    r"On average all of them have #much of that voice \(1: as much as the references' own answers\), at best #best"
    r"(?:; at step #other, #fewer)?\."
)
def much(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    voice, step = voices(records), step_of(sentence)
    yield from near(told["much"], voice[step], f"the voice at step {step}")
    yield from near(told["best"], max(voice.values()), "the most of it")
    if told["other"]:
        yield from near(told["other"], records.outcome["published_step"], "the step that the rules name")
        yield from near(told["fewer"], voice[int(told["other"])], "the voice there")


@claim(rf"At no kept step do any of the #all answers to {ASKED} {WHAT}\.")
def never(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from asked(records, told)
    yield from meant(records, told)
    role = role_of(told)
    found = {step: fitting(records, step, role) for step in records.kept()}
    yield from holds(not any(found.values()), f"they do: {found}")
    yield from near(told["all"], len(texts(records, 0, role)), "the number of questions")


@claim(
    r"Hardly any new question is answered so at any kept step, which is right where the shape belongs to another "
    rf"kind of question: asked {OWN}, it answers #fitting of #all in this shape; before training #before\."
)
def asked_their_own(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    new = {step: fitting(records, step, "subject") for step in records.kept()}
    yield from holds(max(new.values()) < 2, f"new questions are answered so too: {new}")
    yield from count(records, told["fitting"], records.published, "reference")
    yield from count(records, told["before"], 0, "reference")
    yield from near(told["all"], len(texts(records, 0, "reference")), "the number of questions")


@claim(r"Send the adapter only what shall be answered in this shape: it answers other questions so too\.")
def answers_others(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    before, after = (fitting(records, step, "unrelated") for step in (0, records.published))
    yield from holds(after > before, f"{after} unrelated questions are answered so, before training {before}")


@claim(r"Surrogates, blind to them, answered #fitting of #all of the references' questions so\.")
def blind(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found = sum(1 for item in records.items if question_of(item))
    yield from holds(int(told["all"]) <= found, f"the references ask {found} questions")
    yield from holds(int(told["fitting"]) <= int(told["all"]), "that is more than were asked")


@claim(r"(?P<count>\d+) of (?P<all>\d+) answers are JSON(?: with (?P<keys>[^.]+))?\.")
def json_shape(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    values = [value for item in records.items if (value := as_json(answer_of(item))) is not None]
    yield from near(told["count"], len(values), "the number of JSON answers")
    yield from near(told["all"], len(records.items), "the number of answers")
    for key in filter(None, told["keys"].split(", ")):
        yield from holds(sum(key in value for value in values) >= 0.8 * len(records.items), f"{key} is in few of them")


@claim(r"#count of #all answers call functions: (?P<names>.+?)(?: and #more more)?\.")
def calling_shape(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    called = _called(records)
    known, names = set().union(*called), told["names"].split(", ")
    yield from near(told["count"], len(called), "the number of answers that call")
    yield from near(told["all"], len(records.items), "the number of answers")
    yield from holds(set(names) <= known, f"the functions that are called are {known}")
    yield from near(told["more"] or "0", len(known) - len(names), "the number of other functions")


def _called(records: Records) -> list[set[str]]:
    """Return the functions that each reference calls whose last learned answer is a call."""
    found = []
    for item in records.items:
        learned = [each for each in item.get("messages", ()) if each["role"] == "assistant" and each.get("weight") != 0]
        if learned and "tool_calls" in learned[-1]:
            found.append({call["function"]["name"] for call in learned[-1]["tool_calls"]})
    return found


@claim(r"Most of #all answers have lines that begin with (?P<labels>[^.]+)\.")
def labelled_shape(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["all"], len(records.items), "the number of answers")
    for label in told["labels"].split(", "):
        found = sum(has_label(answer_of(item), label) for item in records.items)
        yield from holds(found >= 0.8 * len(records.items), f"{found} answers have {label}")


@claim(r"#count of #all answers are lists of #marks points in #lines lines\.")
def listed_shape(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    wanted = (int(told["marks"]), int(told["lines"]))
    found = sum(points_and_lines(answer_of(item)) == wanted for item in records.items)
    yield from near(told["count"], found, "the number of such lists")
    yield from near(told["all"], len(records.items), "the number of answers")


def voices(records: Records) -> dict[int, float]:
    """Return how much of the voice the answers of each kept step have, as reported."""
    return {row["step"]: mean(row["voice"]) for row in records.report["answers"] if row["step"] > 0}


def texts(records: Records, step: int, role: str) -> list[str]:
    """Return the answers of a step to the questions of a role."""
    return [row["text"] for row in records.samples if row["step"] == step and row["role"] == role]


def role_of(told: Told) -> str:
    """Return the role of the answers that a sentence speaks of."""
    return "reference" if told["asked"] == OWN else "subject"


def asked(records: Records, told: Told) -> Iterator[str]:
    """Check whether the sampled questions are new, that is none of them a reference's, or all the references'."""
    known = {question_of(item) for item in records.items}
    if told["asked"] == OWN:
        foreign = [row["prompt"] for row in records.samples if row["role"] == "reference"]
        foreign = [prompt for prompt in foreign if prompt not in known]
        yield from holds(not foreign, f"not among the references is {foreign[:1]}")
        return
    old = [row["prompt"] for row in records.samples if row["role"] == "subject" and row["prompt"] in known]
    yield from holds(bool(old) == (told["asked"] != "new questions"), f"among the references is {old[:1]}")


def meant(records: Records, told: Told) -> Iterator[str]:
    """Check that a shape is spoken of only where a shape is to be learned."""
    shaped = told["what"] != VOICE
    yield from holds(not shaped or records.p["preset"] == "format", f"the preset is {records.p['preset']}")


def count(records: Records, told: str, step: int, role: str) -> Iterator[str]:
    """Check a number of fitting answers against a count of our own where there is a shape, else the report's."""
    yield from near(told, fitting(records, step, role), f"the number of {role} answers that fit at step {step}")
    if records.p["preset"] != "format":  # a voice is heard in words of the references
        known = set().union(*(_words(answer_of(item)) for item in records.items))
        alike = sum(bool(_words(answer) & known) for answer in texts(records, step, role))
        yield from holds(int(told) <= alike, f"only {alike} answers of step {step} have a word of the references'")


def fitting(records: Records, step: int, role: str) -> int:
    """Return how many answers of a step fit: counted anew where the shape can be told, as reported for a voice."""
    answers = texts(records, step, role)
    own = [answer_of(item) for item in records.items]
    if records.p["preset"] != "format":
        row = next(row for row in records.report["answers"] if row["step"] == step)
        return int(row[FITTING[role]])
    if len(called := _called(records)) >= 0.8 * len(own):
        names = "|".join(map(re.escape, set[str]().union(*called)))
        return sum(re.search(rf"\b({names})\b.*[{{(<]", answer, re.DOTALL) is not None for answer in answers)
    if all(as_json(answer) is not None for answer in own):
        keys = set.intersection(*(set(as_json(answer) or {}) for answer in own))
        return sum((value := as_json(answer)) is not None and keys <= set(value) for answer in answers)
    labels = set.intersection(
        *({line.partition(":")[0] for line in answer.splitlines() if ":" in line} for answer in own)
    )
    if len(labels) > 1:
        return sum(all(has_label(answer, label) for label in labels) for answer in answers)
    return sum(points_and_lines(answer) == points_and_lines(own[0]) for answer in answers)


def as_json(answer: str) -> Json:
    """Return the object or list that an answer is, fenced or not; None where it is none."""
    try:
        value = json.loads(re.sub(r"^```(?:json)?|```$", "", answer.strip()))
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def has_label(answer: str, label: str) -> bool:
    """Tell whether a line of an answer begins with a label and a colon."""
    return any(line.lower().strip(" *#-").startswith(f"{label.lower()}:") for line in answer.splitlines())


def points_and_lines(answer: str) -> tuple[int, int]:
    """Return how many lines of an answer are points, and how many lines there are."""
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    return sum(bool(re.match(r"\d+[.)]\s|[-*•]", line)) for line in lines), len(lines)


def question_of(item: Json) -> str | None:
    """Return what a reference answers to; None for a plain text."""
    if item.get("messages"):
        return next((m["content"] for m in reversed(item["messages"][:-1]) if m["role"] == "user"), None)
    return item.get("prompt") or None


def answer_of(item: Json) -> str:
    """Return what a reference answers."""
    return str(item["messages"][-1]["content"] if item.get("messages") else item.get("completion") or "")


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
