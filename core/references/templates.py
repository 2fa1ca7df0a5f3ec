"""Which texts a backbone's chat template can write; those with tools are left out where it knows none."""

from __future__ import annotations

from core.backbones.record import BackboneRecord
from core.errors import InvalidInput
from core.references.items import References, TextItem


def begins_with_system(item: TextItem) -> bool:
    """Tell whether the first message is the system's."""
    return item.messages is not None and item.messages[0]["role"] == "system"


def knows_tools(record: BackboneRecord) -> bool:
    """Tell whether texts with tools can be learned; where nothing is known of the template, rendering will tell."""
    return record.chat is None or record.chat.tools


def check(count: int, with_tools: int, record: BackboneRecord, param: str = "training_file") -> None:
    """Raise InvalidInput where more than half of `count` texts have tools and the template knows none.

    Fewer are left out with a word, as pictures are that can't be read.
    """
    if knows_tools(record) or 2 * with_tools <= count:
        return
    has = "has a chat template that does not write all of tools, their calls and results"
    if record.chat and not record.chat.template:
        has = "has no chat template"
    use = "declares or calls" if with_tools == 1 else "declare or call"
    raise InvalidInput(
        f"{with_tools} of {count} texts {use} tools, and {record.id} {has}, so that they can't be learned. "
        "Choose a backbone whose template knows tools, or write the calls as words.",
        code="tools_unknown",
        param=param,
    )


def writable(given: References, record: BackboneRecord, param: str = "training_file") -> References:
    """Return the references that the template can write; raises as `check`."""
    texts = [item for item in given.items if isinstance(item, TextItem)]
    with_tools = sum(item.uses_tools for item in texts)
    check(len(texts), with_tools, record, param)
    if knows_tools(record) or not with_tools:
        return given
    return References(given.kind, tuple(item for item in texts if not item.uses_tools))
