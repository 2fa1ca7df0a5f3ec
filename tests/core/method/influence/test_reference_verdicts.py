"""Which of the user's own references fit, which do not belong, and which are there twice."""

import torch

from core.method.influence.reference_verdicts import judge_references
from core.method.stopping.evidence import SurrogateCurves

NAMES = ("cat.png", "cat copy.png", "dog.png", "house.png")


def curves(changes: list[float]) -> SurrogateCurves:
    """Return curves of one fold a reference, whose held-out loss changes by these shares."""
    result = SurrogateCurves(tuple((i,) for i in range(len(changes))))
    for step, progress in ((0, 0.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 1.01)):
        held = torch.tensor([2.0 * (1 + progress * change) for change in changes])
        result.add(step, held.expand(len(changes), -1).contiguous())
    return result


def test_the_odd_one_out_is_named_and_twins_name_each_other() -> None:
    judged = judge_references([0, 0, 1, 2], curves([-0.3, -0.3, -0.2, 0.1]))
    assert [one.verdict for one in judged] == ["helps", "duplicate", "helps", "hurts"]
    assert "take 30% of its loss away" in judged[0].sentence(NAMES)
    assert judged[1].sentence(NAMES) == "cat copy.png teaches nearly the same as cat.png; one of them is enough."
    assert "house.png may not belong: what the others teach makes it 10% worse" in judged[3].sentence(NAMES)


def test_one_that_fits_far_less_than_the_rest_is_doubted() -> None:
    judged = judge_references([0, 1, 2, 3], curves([-0.4, -0.5, -0.3, -0.1]))
    assert [one.verdict for one in judged] == ["helps", "helps", "helps", "doubtful"]
    assert "the others take 10% of its loss away, where 35% is usual" in judged[3].sentence(NAMES)


def test_what_the_others_do_not_change_is_not_called_worse_and_little_is_not_called_nothing() -> None:
    judged = judge_references([0, 1, 2, 3], curves([0.0, -0.004, -0.004, -0.004]))
    assert judged[0].verdict == "hurts"
    assert "what the others teach does not help it at all" in judged[0].sentence(NAMES)
    assert "take 0.4% of its loss away" in judged[1].sentence(NAMES)


def test_without_held_out_references_nothing_is_claimed() -> None:
    alone = SurrogateCurves(((),))
    alone.add(0, torch.ones(1, 2))
    alone.add(1, torch.ones(1, 2))
    judged = judge_references([0, 1], alone)
    assert {one.verdict for one in judged} == {"unknown"}
    assert "nothing is known" in judged[0].sentence(NAMES)


def test_where_most_references_get_worse_none_is_said_not_to_belong() -> None:
    judged = judge_references([0, 1, 2, 3], curves([0.1, 0.2, 0.1, -0.1]))
    assert judged[0].sentence(NAMES) == (
        "cat.png: what the others teach makes it 7% worse, and so it is with at least half of all references."
    )
    assert all("not belong" not in one.sentence(NAMES) for one in judged)
