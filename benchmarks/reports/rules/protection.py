"""Claims about what protects the backbone: by what means, with what weight, on what, and in how many slots."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.reports.records import Json, Records
from benchmarks.reports.rules.claims import Sentence, Told, claim, holds, near, parameter
from benchmarks.reports.rules.values import meant, preset_named
from core.parameters.protection.means import GENERATE, PROBE
from core.parameters.schedule import GENERATED, OWN_SAMPLES, PROBE_EXAMPLES

MEANS = "replay|distil|both"
PROBED = "|".join(PROBE.values())
SET = r"set by the preset (?P<setter>[a-z0-9-]+ \d+(?: \(an alias of [a-z0-9-]+\))?)"
PUBLISHED = {"means": "replay", "weight": 1.0, "on": "pool"}  # where a preset says nothing, or none, and a job asks


def usual(records: Records) -> Json:
    """Return how the job's preset protects; how the method was published, where it does not say."""
    told = meant(records).get("protect") or {}
    return {**PUBLISHED, **told} if told.get("means", "none") != "none" else PUBLISHED


@claim(
    r"(?:The preset|the preset) (?P<name>[a-z0-9-]+) #version(?: \(an alias of [^)]+\))? protects nothing: "
    r"(?P<why>.+?)\.$"
)
def uses_none(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    preset = meant(records)
    yield from holds(told["name"] == records.p["preset"], f"the preset is {records.p['preset']}")
    yield from near(told["version"], records.p["preset_version"], "its version")
    whys = {
        (preset.get(name) or {}).get("why")
        for name, nothing in (("gamma", preset.get("gamma", {}).get("start") == 0), ("protect", True))
        if nothing
    }
    yield from holds(told["why"] in whys, f"it says {whys}")
    yield from holds(records.p["protect"] == "none" and not records.p["augment"], "the backbone is protected")


@claim(
    r"What the backbone knows is protected, to limit forgetting\.",
    r"Nothing is protected\.",
    r"augment is off, so nothing is protected\.",
    r"protect is none\.",
)
def whether(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    protected = sentence.text.startswith("What")
    yield from holds(protected == records.p["augment"], f"augment is {records.p['augment']}")
    yield from holds(protected == (records.p["protect"] != "none"), f"protect is {records.p['protect']}")


@claim(
    rf"(?P<means>{MEANS}) is (?:how the method was published|{SET}: (?P<why>.+?)(?P<only>; not measured)?)\.$",
    where="parameters.protect",
)
def means(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["means"] == records.p["protect"] == usual(records)["means"], f"it is {records.p['protect']}")
    yield from whose(records, told)
    if told["setter"]:
        yield from holds(told["why"] == usual(records)["why"], f"it says: {usual(records)['why']}")
        yield from holds(bool(told["only"]) != bool(usual(records).get("measured")), "measured or not is told wrongly")


@claim(
    rf"#weight is (?:how the method was published|{SET})(?:, for (?P<means>{MEANS}))?\.$",
    where="parameters.protect_weight",
)
def weight(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from near(told["weight"], records.p["protect_weight"], "the weight")
    yield from near(told["weight"], usual(records).get("weight", 1.0), "the preset's")
    yield from whose(records, told)
    beside = None if records.p["protect"] == usual(records)["means"] else usual(records)["means"]
    yield from holds((told["means"] or None) == beside, f"the preset's means are {usual(records)['means']}")


@claim(rf"(?P<on>pool|own|captions) is (?:how the method was published|{SET})\.$", where="parameters.protect_on")
def ground(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["on"] == records.p["protect_on"] == usual(records).get("on", "pool"), "it is another")
    yield from whose(records, told)


def whose(records: Records, told: Told) -> Iterator[str]:
    """Check that a preset which is said to have set something is the job's, and that one has where none is said."""
    if told["setter"]:
        yield from preset_named(records, told["setter"])
    else:
        yield from holds(usual(records) is PUBLISHED, "the preset says how to protect")


@claim(
    r"Unrelated captions bring no data to replay, so the distance to the frozen backbone is kept small\.",
    r"On samples of its own the distance to the frozen backbone is kept small\.",
    where="parameters.protect",
)
def distance(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    on = "captions" if sentence.text.startswith("Unrelated") else "own"
    yield from holds(records.p["protect"] == "distil", f"protect is {records.p['protect']}")
    yield from holds(records.p["protect_on"] == on, f"it protects on {records.p['protect_on']}")


@claim(
    r"(?P<id>\S+) has no candidate pool, so it is protected on samples that it makes itself\.",
    rf"(?P<means>{MEANS}) needs data, and (?P<id>\S+) has a candidate pool\.",
    where="parameters.protect_on",
)
def instead(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    pooled = "no candidate pool" not in sentence.text
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    yield from holds(pooled == (records.backbone["pool"] is not None), "whether there is a pool is told wrongly")
    yield from holds(records.p["protect_on"] == ("pool" if pooled else "own"), f"it is {records.p['protect_on']}")
    if told.get("means"):
        yield from holds(told["means"] == records.p["protect"], f"protect is {records.p['protect']}")


@claim(
    r"It is chosen (?P<scored>after scoring, )?by a trial on held-out references\."
    r"(?: It starts at #start: (?P<why>.+)\.$)?",
    where="parameters.gamma",
)
def gamma_chosen(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["gamma"] == "auto" and records.p["augment"], f"gamma is {records.p['gamma']}")
    scored = records.p["protect_on"] == "pool" and records.p["score"] != "random"
    yield from holds(bool(told["scored"]) == scored, "whether candidates are scored is told wrongly")
    if told["start"]:
        preset = meant(records)
        yield from near(told["start"], preset["gamma"]["start"], "where the preset starts")
        yield from holds(preset["gamma"]["why"] == told["why"], f"it says: {preset['gamma']['why']}")


@claim(
    r"Without backbone data there is nothing to mix in\.",
    r"No pool is used\.",
    r"The pool that belongs to the backbone\.",
    where="parameters.",
)
def pool(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    used = records.p["pool"] is not None and records.p["augment"]
    if parameter(sentence) == "gamma":
        yield from holds(records.p["protect"] == "none", f"protect is {records.p['protect']}")
    else:
        yield from holds(used == sentence.text.startswith("The pool"), f"the pool is {records.p['pool']}")


@claim(
    r"The backbone is protected on #count samples that it made itself\. Influence chooses among candidates of a pool, "
    r"and none is used, so none is scored\.",
    r"The backbone is protected on the references under #count captions that have nothing to do with them\. Influence "
    r"chooses among candidates of a pool, and none is used, so none is scored\.",
)
def unscored(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    on = "own" if "made itself" in sentence.text else "captions"
    noted = records.read("work/prepare/protection.json") or {}
    yield from holds(records.p["protect_on"] == on, f"it protects on {records.p['protect_on']}")
    yield from near(told["count"], len(noted.get("captions", ())) or noted.get("count"), "their number")
    yield from holds(not records.influence and not records.decision["selected"], "candidates were scored or selected")


@claim(
    r"Every caption that (?P<id>\S+) could be protected under names what the references show, or holds the trigger "
    r"word, so the adapter is trained on the references alone\."
)
def no_captions(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    noted = records.read("work/prepare/protection.json") or {}
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    yield from holds(records.p["protect_on"] == "captions", f"it protects on {records.p['protect_on']}")
    yield from holds(noted.get("captions") == [] and records.gamma == 0, "there are captions, or it is protected")


@claim(
    r"There are too few samples of (?P<id>\S+)'s own to protect it with, so the adapter is trained on the references "
    r"alone\.",
    r"(?P<id>\S+) makes no samples of its own that could be learned from, so the job goes on without protection\.",
    r"Only #some of the #fewest samples of (?P<id>\S+)'s own that protection needs were made within #limit s\. The job "
    r"goes on without; the next one goes on with making them\.",
)
def too_few(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    yield from holds(_makes(records), f"it protects on {records.p['protect_on']}")
    yield from holds(records.gamma == 0, f"gamma is {records.gamma}")
    if told.get("some"):
        yield from holds(int(told["some"]) < int(told["fewest"]), "they are enough")


@claim(
    r"(?P<id>\S+) (?P<how>draws|writes) #count (?:pictures|texts) of its own, once for all jobs of this size: (?:what "
    r"it drew|how it spoke) before training is what is protected\.",
    where="messages.",
)
def making(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(records.p["protect_on"] == "own", f"it protects on {records.p['protect_on']}")
    yield from near(told["count"], OWN_SAMPLES, "the number that is made")
    if told.get("id"):
        yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
        yield from holds((told["how"] == "draws") == (records.p["kind"] == "images"), f"it is {records.p['kind']}")


@claim(
    r"(?P<id>\S+) (?P<how>draws|writes) a pool of #count (?:pictures of plain prompts|texts), once for all jobs of "
    r"this size\.",
    r"Too few candidates were made by (?P<id>\S+) itself to choose from, so the adapter is trained on the references "
    r"alone\.",
    r"The pool that (?P<id>\S+) makes itself was asked for\.",
    r"It was asked for: (?P<id>\S+) (?P<how>draws|writes) #count (?:pictures of plain prompts|texts from plain "
    r"openings and questions), once for all jobs of this size\.",
)
def makes_pool(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(generates(records), f"the pool is {records.p['pool']}")
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    if told.get("how"):
        yield from near(told["count"], GENERATED, "the number that is made")
        yield from holds((told["how"] == "draws") == (records.p["kind"] == "images"), f"it is {records.p['kind']}")
    if sentence.text.startswith("Too few"):
        yield from holds(records.gamma == 0, f"gamma is {records.gamma}")


@claim(r"#some of #count samples of the backbone's own are made\.", where="messages.")
def made_so_far(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from holds(_makes(records), f"it protects on {records.p['protect_on']}")
    yield from near(told["count"], GENERATED if generates(records) else OWN_SAMPLES, "the number that is made")


def generates(records: Records) -> bool:
    """Whether the job chooses from a pool that its backbone makes."""
    return bool(records.p["augment"] and records.p["protect_on"] == "pool" and records.p["pool"] == GENERATE)


def _makes(records: Records) -> bool:
    return generates(records) or bool(records.p["protect_on"] == "own")


@claim(r"(?P<id>\S+) made #count samples of its own in #seconds s\.", where="messages.")
def made(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    data = next(row["data"] for row in records.messages if row["text"] == sentence.text)
    yield from holds(told["id"] == records.backbone["id"], f"the backbone is {records.backbone['id']}")
    yield from holds(_makes(records), f"it protects on {records.p['protect_on']}")
    yield from near(told["count"], data["samples"], "the number that was made")
    most = GENERATED if generates(records) else OWN_SAMPLES
    yield from holds(0 <= data["samples"] <= most, f"more than {most} were made")
    yield from near(told["seconds"], data["seconds"], "what they took")


@claim(
    rf"On (?P<probe>{PROBED}) it moved #less% less away from the untouched backbone than without\.",
    rf"On (?P<probe>{PROBED}) it moved no less away from the untouched backbone \(#share% of the distance\)\.",
)
def moved_less(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    found, probe = (records.mixture["trial"] or {}).get("kept"), records.report["probe"]
    if not found or not probe:
        yield "nobody has looked"
        return
    yield from holds(told["probe"] == PROBE[probe["on"]], f"the probe is on {probe['on']}")
    share = 100 * found["with"] / found["without"]
    yield from near(told.get("share") or f"{100 - float(told['less']):.0f}", share, "the share of the distance")
    yield from holds((share >= 100) == bool(told.get("share")), f"it moved {share:.0f}% as far")


@claim(
    r"At step #step the loss on #count held-out (?P<probe>examples of the backbone's data|samples of the backbone's "
    r"own) is #change% (?P<how>higher|lower) than before training\.",
    where="reasons.forgetting",
)
def forgotten(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    probe, own = records.report["probe"], told["probe"].startswith("samples")
    seen = {at: row["probe_loss"] for at, row in records.curve.items() if "probe_loss" in row}
    yield from holds((probe["on"] == "own") == own, f"the probe is on {probe['on']}")
    yield from near(told["count"], probe["examples"], "the size of the probe")
    noted = records.read("work/prepare/protection.json") or {}
    if own and "held_out" in noted:
        yield from near(told["count"], min(len(noted["held_out"]), PROBE_EXAMPLES), "the number that is held out")
    step = min(seen, key=lambda at: abs(at - records.report["published_step"]))
    yield from near(told["step"], step, "the step")
    change = round(100 * (seen[step] / seen[0] - 1), 2)  # as the report has it
    yield from near(told["change"], abs(change), "the change")
    yield from holds((told["how"] == "higher") == (change >= 0) or abs(change) < 0.05, f"it changed by {change:.2f}%")


@claim(r"#share is set by the preset (?P<setter>[^:]+), without a trial: (?P<why>.+?)\.$", where="parameters.gamma")
def gamma_set(records: Records, told: Told, sentence: Sentence) -> Iterator[str]:
    yield from preset_named(records, told["setter"])
    gamma = meant(records).get("gamma") or {}
    yield from holds((gamma.get("tried"), gamma.get("why")) == (False, told["why"]), f"it says {gamma}")
    yield from near(told["share"], records.p["gamma"], "gamma")
