"""What a backbone's chat template has no place for: said where it is so, and nowhere else."""

from __future__ import annotations

import pytest

from core.backbones.chat_template import ChatFacts
from core.backbones.record import BackboneRecord
from core.errors import InvalidInput
from core.findings import profiles
from core.findings.jobs import Data, of_template
from core.findings.profiles import Profile
from core.references import templates
from core.references.items import References, TextItem
from tests.core.parameters.test_resolving import EMOJI, TEXT

ASK, SAID = {"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "No."}
BRIEF = {"role": "system", "content": "Be brief."}
CALLS = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "weather", "arguments": {}}}]}
TOOL = {"type": "function", "function": {"name": "weather"}}
PLAIN, SYSTEM = TextItem((ASK, SAID)), TextItem((BRIEF, ASK, SAID))
CALLING, DECLARING = TextItem((ASK, CALLS)), TextItem((ASK, SAID), tools=(TOOL,))


def backbone(*, system: bool, tools: bool, template: bool = True) -> BackboneRecord:
    return TEXT.model_copy(update={"chat": ChatFacts(template=template, system=system, tools=tools)})


KNOWS_ALL, KNOWS_NOTHING = backbone(system=True, tools=True), backbone(system=False, tools=False)


def profile(*items: TextItem) -> Profile:
    prints = [profiles.TextPrint(str(number), None) for number, _ in enumerate(items)]
    found = profiles.parse(profiles.of(items, [], prints))
    assert found is not None
    return found


def told(record: BackboneRecord, *items: TextItem, validation: tuple[TextItem, ...] = ()) -> dict[str, str]:
    data = Data((profile(*items),), profile(*validation) if validation else None)
    return {finding.code: finding.message for finding in of_template(data, record)}


def test_what_the_template_has_no_place_for_is_said() -> None:
    assert told(KNOWS_NOTHING, PLAIN, SYSTEM, CALLING) == {
        "system_unknown": "The chat template of tiny has no place for a system prompt, with which 1 of 3 texts "
        "begins; it is written in front of what the user says first.",
        "tools_unknown": "1 of 3 texts declares or calls tools, for which tiny has no place in a chat; it is left out.",
    }


def test_several_are_said_as_several() -> None:
    found = told(KNOWS_NOTHING, PLAIN, SYSTEM, SYSTEM, CALLING, DECLARING)
    assert "2 of 5 texts begin;" in found["system_unknown"]
    assert "2 of 5 texts declare or call tools" in found["tools_unknown"]
    assert found["tools_unknown"].endswith("they are left out.")


def test_validation_texts_are_told_apart() -> None:
    assert (
        "1 of 2 validation texts declares" in told(KNOWS_NOTHING, PLAIN, validation=(PLAIN, CALLING))["tools_unknown"]
    )


@pytest.mark.parametrize("items", [(PLAIN, SYSTEM, CALLING), (PLAIN,)])
def test_where_the_template_knows_them_nothing_is_said(items: tuple[TextItem, ...]) -> None:
    assert told(KNOWS_ALL, *items) == {}
    assert told(TEXT, *items) == {}  # nothing is known of it
    assert told(KNOWS_NOTHING, PLAIN) == {}
    assert list(of_template(Data(()), EMOJI)) == []


def test_texts_with_tools_are_left_out_as_long_as_these_are_not_most() -> None:
    given = References("texts", (PLAIN, CALLING, SYSTEM, DECLARING))
    assert templates.writable(given, KNOWS_NOTHING).items == (PLAIN, SYSTEM)
    assert templates.writable(given, KNOWS_ALL) == given
    assert templates.writable(given, TEXT) == given
    with pytest.raises(InvalidInput, match=r"^2 of 3 texts declare or call tools, and tiny has a chat template that"):
        templates.writable(References("texts", (PLAIN, CALLING, DECLARING)), KNOWS_NOTHING)
    none = backbone(system=True, tools=False, template=False)
    with pytest.raises(
        InvalidInput, match="1 of 1 texts declares or calls tools, and tiny has no chat template, so"
    ) as refusal:
        templates.writable(References("texts", (CALLING,)), none, "validation_file")
    assert (refusal.value.code, refusal.value.param) == ("tools_unknown", "validation_file")


def test_an_older_profile_counts_none_and_a_wrong_count_is_bounded() -> None:
    content = profiles.of([CALLING], [], [profiles.TextPrint("a", None)])
    older = {key: value for key, value in content.items() if not key.startswith("with_")}
    parsed = [profiles.parse(older), profiles.parse(content | {"with_tools": 99, "with_system": -1})]
    assert [(found.with_system, found.with_tools) for found in parsed if found] == [(0, 0), (0, 1)]
    assert profiles.parse(content | {"with_tools": "many"}) is None
