"""What a pattern means by paths alone: the rule by which modules are counted in files and wrapped in networks."""

from __future__ import annotations

import pytest

from core.tensors.paths import matches


@pytest.mark.parametrize(
    ("pattern", "path", "meant"),
    [
        ("to_q", "blocks.0.to_q", True),
        ("to_q", "to_q", True),
        ("to_q", "blocks.0.add_to_q", False),
        ("to_out.0", "blocks.0.to_out.0", True),
        ("to_out.0", "blocks.0.to_out.1", False),
        ("blocks.0.to_q", "to_q", False),
        ("blocks.*.to_q", "blocks.11.to_q", True),
        ("blocks.*.to_q", "blocks.11.attn.to_q", False),
        ("blocks.*.to_q", "outer.blocks.11.to_q", False),
        ("blocks.**.to_q", "blocks.to_q", True),
        ("blocks.**.to_q", "blocks.1.attn.deep.to_q", True),
        ("**.to_q", "blocks.1.to_q", True),
        ("**.to_q", "blocks.1.to_k", False),
        ("blocks.**", "blocks.1.to_k", True),
        ("*", "proj_out", True),
        ("*", "blocks.proj_out", False),
        ("blo*.to_q", "blocks.to_q", False),
        ("*.q_proj", "model.a.q_proj", False),
        ("a.**.b.**.c", "a.b.c", True),
        ("a.**.b.**.c", "a.x.b.y.z.c", True),
        ("a.**.b.**.c", "a.x.y.z.c", False),
    ],
)
def test_a_pattern_is_a_suffix_of_whole_parts_or_with_a_star_the_whole_path(
    pattern: str, path: str, meant: bool
) -> None:
    assert matches(pattern, path) is meant
