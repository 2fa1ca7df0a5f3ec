"""peft chooses by the names that it is given exactly the modules that were adapted."""

from __future__ import annotations

import pytest
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists

from core.method.lora.peft_names import peft_targets

PATHS = ["a", "a.to_q", "a.to_k", "b", "b.to_q", "b.to_k", "b.x", "b.x.to_q", "proj_out", "b.proj_out"]


@pytest.mark.parametrize(
    ("adapted", "names"),
    [
        (["a.to_q", "b.to_q", "b.x.to_q"], ["to_q"]),
        (["a.to_q", "a.to_k", "b.to_k"], ["a.to_q", "to_k"]),
        (["b.proj_out"], ["b.proj_out"]),
        (["b.to_q", "b.x.to_q"], ["b.to_q", "x.to_q"]),
        (["proj_out"], r"(proj_out)"),  # as a list it would choose b.proj_out too
        (["proj_out", "a.to_q"], r"(a\.to_q|proj_out)"),
    ],
)
def test_names_are_as_short_as_can_be_and_exact(adapted: list[str], names: list[str] | str) -> None:
    found = peft_targets(adapted, PATHS)
    assert found == names
    config = LoraConfig(target_modules=found)
    assert [path for path in PATHS if check_target_module_exists(config, path)] == [
        path for path in PATHS if path in adapted
    ]


def test_the_names_of_the_backbone_are_kept_where_they_are_exact_and_no_patterns() -> None:
    whole = ["b.to_q", "b.x.to_q", "a.to_q"]
    assert peft_targets(whole, PATHS, ("x.to_q", "to_q")) == ["to_q", "x.to_q"]
    assert peft_targets(whole, PATHS, ("**.to_q",)) == ["to_q"]
    assert peft_targets(["a.to_q"], PATHS, ("to_q",)) == ["a.to_q"]  # one that is left out since nothing flows
