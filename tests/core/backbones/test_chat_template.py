"""What a chat template knows, read from a model's folder as transformers keeps it there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.backbones.chat_template import MAX_CHARACTERS, WITHOUT, ChatFacts, facts

PLAIN = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}\n{% endfor %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN
FORGETS = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
TOOLS = (
    "{%- if tools %}{{ tools | tojson(indent=2) }}{% endif %}{% for m in messages %}{%- if m.tool_calls %}"
    "{% for call in m.tool_calls %}{{ call.function | tojson }}{% endfor %}{% else %}{{ m.content }}{% endif %}"
    "{% endfor %}"
)
DECLARES = "{{ tools | tojson if tools else '' }}" + PLAIN
KNOWN: dict[str, tuple[str, bool, bool]] = {  # template, whether it knows a system prompt, whether it knows tools
    "plain": (PLAIN, True, False),
    "refuses a system prompt": (REFUSES, False, False),
    "forgets a system prompt": (FORGETS, False, False),
    "knows tools": (TOOLS, True, True),
    "declares tools, and forgets calls": (DECLARES, True, False),
    "asks for the day": ("{{ strftime_now('%d %b %Y') }}" + PLAIN, True, False),
    "marks answers": (f"{{% generation %}}{PLAIN}{{%- endgeneration -%}}", True, False),
    "leaves a loop": ("{% for m in messages %}{{ m.content }}{% break %}{% endfor %}", True, False),
    "is broken": ("{% for m in %}", False, False),
    "divides by nothing": ("{{ 1 / 0 }}", False, False),
    "reaches for more than it is given": ("{{ ''.__class__.__mro__[1].__subclasses__() }}" + PLAIN, False, False),
    "changes what it is given": ("{% set x = messages.append(1) %}" + PLAIN, False, False),
    "counts too far": ("{% for n in range(10 ** 9) %}{% endfor %}" + PLAIN, False, False),
}


@pytest.mark.parametrize("what", KNOWN)
def test_a_template_is_asked_for_what_it_knows(what: str, tmp_path: Path) -> None:
    template, system, tools = KNOWN[what]
    (tmp_path / "chat_template.jinja").write_text(template)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    assert facts(tmp_path) == ChatFacts(template=True, system=system, tools=tools)


def test_a_folder_without_a_template_writes_lines_and_knows_no_tools(tmp_path: Path) -> None:
    assert facts(tmp_path) == WITHOUT
    (tmp_path / "tokenizer_config.json").write_text("{")
    assert facts(tmp_path) == WITHOUT
    (tmp_path / "chat_template.jinja").write_text("a" * (MAX_CHARACTERS + 1))
    assert facts(tmp_path) == WITHOUT


def test_a_template_stands_in_the_tokenizers_settings_or_beside_them(tmp_path: Path) -> None:
    def kept(**settings: object) -> ChatFacts:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
        return facts(tmp_path)

    two = [{"name": "default", "template": PLAIN}, {"name": "tool_use", "template": TOOLS}]
    assert not kept(chat_template=PLAIN).tools
    assert kept(chat_template=TOOLS, bos_token={"content": "<s>", "lstrip": False}).tools
    assert kept(chat_template=two).tools
    assert kept(chat_template={"default": PLAIN, "tool_use": TOOLS}).tools
    (tmp_path / "chat_template.jinja").write_text(REFUSES)
    assert not kept(chat_template=PLAIN).system
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text(TOOLS)
    assert kept(chat_template=PLAIN) == ChatFacts(template=True, system=False, tools=True)


def test_what_transformers_saves_is_read(tmp_path: Path) -> None:
    from tests.tiny_backbones import letter_tokenizer

    for template, tools in ((PLAIN, False), (TOOLS, True)):
        tokenizer = letter_tokenizer(["<pad>", "</s>", "a", "<unk>"])
        tokenizer.chat_template = template
        tokenizer.save_pretrained(tmp_path)
        assert facts(tmp_path) == ChatFacts(template=True, system=True, tools=tools)


def test_what_is_told_before_a_job_is_what_the_job_finds(tmp_path: Path) -> None:
    from core.method.backbones.texts.template import ChatTemplate
    from tests.core.method.backbones.texts.templates import MODELS, tokenizer

    for name in MODELS:
        tokens = tokenizer(name)
        tokens.save_pretrained(tmp_path / name)
        found, template = facts(tmp_path / name), ChatTemplate(tokens)
        tools = template.knows_tools and template.knows_calls
        assert (name, found.system, found.tools) == (name, template.keeps_system, tools)
