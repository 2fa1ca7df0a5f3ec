"""Claims of what a job says while it runs, for the jobs that kept it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from benchmarks.reports.records import Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near
from benchmarks.reports.rules.mixing import HELD
from core.parameters.protection.means import DATA


@claim(r"Preparing #count (?P<kind>images|texts) for (?P<id>\S+)\.", where="messages.prepare")
def preparing(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["count"], len(records.items), "the number of references")
    yield from holds(told["kind"] == records.p["kind"], f"they are {records.p['kind']}")
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")


@claim(
    r"(?P<known>[\d,]+) of (?P<all>[\d,]+) examples of the backbone's own data (?:is|are) "
    r"among what was sent, or nearly: "
    r"(?P<named>.+?)\. So (?:it is|they are) neither scored nor replayed\.",
    where="messages.prepare",
)
def left_out_of_the_pool(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(0 < _number(told["known"]) <= _number(told["all"]), "that can't be")


@claim(
    r"(?P<over>[\d,]+) of (?P<all>[\d,]+) texts ha(?:s|ve) more than the (?P<most>[\d,]+) tokens that this job takes "
    r"of one: (?P<named>text .+?)\. Text (?P<worst>\d+) loses (?:the most, )?(?P<fewer>[\d,]+) tokens?"
    r"(?:, all of them together (?P<sum>[\d,]+))?\. Left out: (?P<lost>.+?)\.",
    where="messages.prepare",
)
def cut_texts(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    over, count, most, worst, fewer = (_number(told[name]) for name in ("over", "all", "most", "worst", "fewer"))
    yield from holds(count == len(records.items), f"there are {len(records.items)} references")
    yield from holds(0 < over <= count and worst <= count, "that can't be")
    yield from holds(most <= records.p["max_tokens"], f"the limit is {records.p['max_tokens']}")
    named = [_number(tokens) for tokens in re.findall(r"text \d+ \(([\d,]+)\)", told["named"])]
    yield from holds(bool(named) and min(named) > most, "one of them is not too long")
    yield from holds(bool(told["sum"]) == (over > 1), "the sum is of several")
    if told["sum"]:
        yield from holds(fewer + over - 1 <= _number(told["sum"]) <= over * fewer, "the sum does not fit")
    yield from holds(
        ("the end of the last answer" in told["lost"]) == _told_of_answers(records), "answers are told or not"
    )


@claim(
    r"(?P<over>[\d,]+) answers? do(?:es)? not fit into the (?P<most>[\d,]+) tokens that this job takes of one text, "
    r"beside what is asked: only the beginning is learned, without an end, of (?P<named>text .+?)\.",
    where="messages.prepare",
)
def cut_answers(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(0 < _number(told["over"]) <= len(records.items), "that can't be")
    parts = re.findall(r"text \d+ \(([\d,]+) of ([\d,]+) tokens\)", told["named"])
    yield from holds(bool(parts), "none is named")
    for learned, whole in parts:
        yield from holds(0 < _number(learned) < _number(whole), "that is not a part")
        yield from holds(_number(learned) < _number(told["most"]), "more than the limit is learned")


@claim(
    r"The backbone's chat template takes no messages of the same role one after the other; they are joined, with a "
    r"blank line between them, in (?P<texts>text .+?)\.",
    r"The backbone's chat template takes a system prompt at the beginning of a chat only; a later one is written as "
    r"the user's words in (?P<texts>text .+?)\.",
    r"The backbone's chat template would leave out the system prompt; it is written in front of what the user says "
    r"first in (?P<texts>text .+?)\.",
    r"The backbone's chat template writes of an answer that calls a tool the call only; what is said beside it is left "
    r"out in (?P<texts>text .+?)\.",
    r"The backbone's chat template takes one call of a tool in a message; of several (?:each has a message of its own, "
    r"with its result after it,|that end a chat the first alone is learned) in (?P<texts>text .+?)\.",
    r"(?P<answers>[\d,]+) answers? (?:is|are) read and not learned: the backbone's chat template writes (?:it|them) "
    r"otherwise in these chats than a model answers, for instance without the thought, in "
    r"(?P<texts>text .+?)\.",
    where="messages.prepare",
)
def written_chats(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    named = [int(number) for number in re.findall(r"text (\d+)", told["texts"])]
    more = re.search(r"and ([\d,]+) more$", told["texts"])
    count = len(named) + (_number(more[1]) if more else 0)
    yield from holds(bool(named) and max(named) <= len(records.items), f"there are {len(records.items)} references")
    yield from holds(count <= len(records.items), f"there are {len(records.items)} references")
    if told.get("answers"):
        yield from holds(_number(told["answers"]) >= count, "there is one at least in each of them")


@claim(
    r"Pictures are trained in these shapes: (?P<counts>\d+ in \d+ x \d+(?:, \d+ in \d+ x \d+)*)\.",
    where="messages.prepare",
)
def shapes(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    counts = [int(count) for count in re.findall(r"(\d+) in", told["counts"])]
    yield from near(str(sum(counts)), len(records.items), "the number of references")
    yield from holds(counts == sorted(counts, reverse=True), "the commonest is not the first")
    yield from holds(1 <= len(counts) <= records.p["shapes"], f"there are {records.p['shapes']} at most")
    yield from holds(len(counts) == 1 or min(counts) >= records.p["folds"], "one of them has too few for the folds")


@claim(
    r"Pictures are trained in the shapes? (?P<shapes>[\dx, and]+): #over of #all loses? more than 10% of (?:its|their) "
    r"area, the most (?P<named>.+\(\d+%\))(?: and #more more)?\.",
    where="messages.prepare",
)
def cut_pictures(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["all"], len(records.items), "the number of references")
    shares = [int(share) for share in re.findall(r"\((\d+)%\)(?:, |$)", told["named"])]
    yield from holds(int(told["over"]) == len(shares) + int(told["more"] or 0), "not as many are named")
    yield from holds(shares == sorted(shares, reverse=True) and min(shares) >= 10, "they are not the worst")
    found = re.findall(r"\d+ x \d+", told["shapes"])
    yield from holds(1 <= len(found) <= records.p["shapes"], f"there are {records.p['shapes']} at most")


def _number(told: str) -> int:
    return int(told.replace(",", ""))


def _told_of_answers(records: Records) -> bool:
    found = [(row["data"] or {}).get("finding") or {} for row in records.messages]
    return any(finding.get("code") == "answer_too_long" for finding in found)


@claim(
    r"#over of #all captions have more than the #most tokens that this job takes of one, (?P<first>.+?) \(#tokens\) "
    r"first; the rest of them is cut off\.",
    where="messages.prepare",
)
def too_long(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["all"], len(records.items), "the number of references")
    yield from holds(0 < int(told["over"]) <= int(told["all"]), "that can't be")
    yield from holds(int(told["tokens"]) > int(told["most"]), "the first of them is not too long")
    yield from holds(told["first"] in records.names, "there is no such reference")


@claim(
    r"Where it stands, the trigger '(?P<word>[^']+)' erases what captions say: over #count of them it changes what the "
    r"untouched backbone draws by #change% of all that the other words change\. On our test backbone, pictures hardly "
    r"show what a caption names from #limit% on; a trigger should only mark it\.",
    where="messages.prepare",
)
def erases(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["word"] == records.p["trigger"], f"the trigger is {records.p['trigger']}")
    held = {item["caption"] for item in records.items if told["word"] in item["caption"]}
    yield from holds(0 < int(told["count"]) <= len(held), f"{len(held)} captions hold it")
    yield from holds(int(told["change"]) >= int(told["limit"]), "it changes less than that")


@claim(
    r"Training #count surrogates on the references, each without a part of them\.",
    r"Training a surrogate on all references: none can be held out\.",
    where="messages.surrogate",
)
def surrogates(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    folds = records.surrogates.folds
    yield from holds(all(folds) == bool(told.get("count")), f"the folds are {folds}")
    if told.get("count"):
        yield from near(told["count"], len(folds), "the number of surrogates")


@claim(
    r"The held-out loss had not clearly turned up by step #step: the surrogates go on, once, to step #most at most\.",
    where="messages.surrogate",
)
def goes_on(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    steps = records.surrogates.steps
    yield from near(told["step"], records.p["surrogate_steps"], "the budget")
    yield from near(told["most"], math.ceil(1.5 * records.p["surrogate_steps"]), "one and a half of it")
    yield from holds(int(told["step"]) < steps[-1] <= int(told["most"]), f"the last step is {steps[-1]}")
    until = [at for at, step in enumerate(steps) if step <= int(told["step"])]
    curves = records.surrogates
    shown = type(curves)(
        curves.folds, 0.0, steps[: len(until)], curves.seen[: len(until)], curves.held_out[: len(until)]
    )
    yield from holds(not shown.turned, f"it was lowest at step {shown.best}")


@claim(
    r"All references teach nearly the same, so none can be held out and nothing is known of unseen data: the adapter "
    r"is trained on them alone, and its step is a guess\. Send references that differ\.",
    where="messages.surrogate",
)
def all_alike(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    verdicts = [row["verdict"] for row in records.report["references"]]
    yield from holds(verdicts.count("duplicate") == len(verdicts) - 1, f"they are {verdicts}")
    yield from holds(not records.surrogates.holds_out and records.gamma == 0, "some are held out")


@claim(
    r"Scoring #some of #all examples of the backbone's own data(?:, the first #first of them to see whether scores "
    r"repeat: else the rest is left out)?\.",
    r"Scoring #some candidates: #done% is done\.",
    r"Scored #scored candidates\.",
    r"Examples of the backbone's own data are drawn at random, as was asked; none is scored\.",
    where="messages.score",
)
def scoring(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    decided = records.decision
    if told.get("some"):
        yield from near(told["some"], decided["sampled"], "the number that was sampled")
    if told.get("all"):
        yield from near(told["all"], records.report["pool_size"], "the size of the pool")
    if told.get("scored"):
        yield from near(
            told["scored"], sum(row["score"] is not None for row in records.influence), "those with a score"
        )
    drawn = "drawn at random" in sentence.text
    yield from holds(drawn == (records.p["score"] == "random"), f"score is {records.p['score']}")


@claim(
    rf"Training the surrogates again, #share% of every batch filled with (?P<data>{HELD}): do held-out references gain "
    r"from it\?",
    where="messages.trial",
)
def trying(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["data"] == DATA[records.p["protect_on"]], f"it protects on {records.p['protect_on']}")
    yield from holds(records.tried is not None, "nothing was tried")
    start = 100 * records.decision["gamma"]
    yield from holds(any(abs(start / 2**n - float(told["share"])) < 0.51 for n in range(5)), f"it starts at {start}%")


@claim(
    rf"Training the adapter(?:, #share% of every batch filled with (?P<data>{HELD})| on the references alone), for at "
    r"most #budget steps\.",
    r"Training ended at step #last of #budget; its stopping rule names step #step(?P<later>, and the samples of the "
    r"kept steps may choose another)?\.",
    where="messages.train",
)
def training(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["budget"], records.budget, "the budget")
    if told.get("last"):
        yield from near(told["last"], records.last, "the last step")
        yield from near(told["step"], records.outcome["published_step"], "the step of its rule")
        may = records.outcome["rule"] == "auto" and any(row["role"] == "subject" for row in records.samples or [])
        yield from holds(bool(told["later"]) == may, f"the rule is {records.outcome['rule']}")
    else:
        yield from near(told["share"] or "0", 100 * records.gamma, "the share")
        yield from holds(told["data"] in ("", DATA[records.p["protect_on"]]), f"it is on {records.p['protect_on']}")


@claim(
    r"Every file was loaded back and gave the same numbers but for rounding: (?P<names>[a-z, ]+)\."
    r"(?: Rounding the merged weights moved their outputs by #lost% of what the adapter does\.)?",
    where="messages.export",
)
def loaded_back(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    formats = set(records.report["formats"])
    yield from holds(set(told["names"].split(", ")) == formats, f"the formats are {formats}")
    errors = next(row["data"]["relative_errors"] for row in records.messages if row["text"] == sentence.text)
    rounded = errors.get("merged", 0.0)
    others = [error for name, error in errors.items() if name != "merged"]
    yield from holds(max(others) <= 1e-3, f"the errors are {errors}")
    if told.get("lost"):
        yield from near(told["lost"], 100 * rounded, "what rounding takes from the merged weights, in %,")
    else:
        yield from holds(rounded < 0.01, f"rounding took {rounded:.0%} from the merged weights")
