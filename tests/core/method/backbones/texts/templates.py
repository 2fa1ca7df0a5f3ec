"""Chat templates that behave as those of well-known models, in own words, and small tokenizers of both kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

Pieces = Literal["bytes", "sentencepiece", "legacy"]

CHATML = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOOLS = (
    "{% if tools %}<|im_start|>system\n# Tools\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}<|im_end|>\n"
    "{% endif %}"
)
QWEN_CALLS = (
    "{% for c in m.tool_calls or [] %}{% if m.content or not loop.first %}\n{% endif %}<tool_call>\n"
    "{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}\n</tool_call>{% endfor %}"
)
QWEN2 = TOOLS + (
    "{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n"
    "</tool_response><|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}" + QWEN_CALLS + "<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN3 = (
    TOOLS
    + (  # thoughts of turns before the last question are dropped; the last answer always shows one
        "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.last = loop.index0 %}"
        "{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n"
        "{{ m.content }}\n</tool_response><|im_end|>\n{% elif m.role != 'assistant' %}<|im_start|>{{ m.role }}\n"
        "{{ m.content }}<|im_end|>\n{% else %}{% set said = m.content %}{% set thought = '' %}"
        "{% if '</think>' in said %}"
        "{% set thought = said.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}<|im_start|>assistant\n"
        "{% if loop.index0 > ns.last and (loop.last or thought) %}<think>\n{{ thought }}\n</think>\n\n"
        "{{ said.lstrip('\n') }}{% else %}{{ said }}{% endif %}" + QWEN_CALLS + "<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
    )
)
LLAMA3 = (  # says which day it is, trims what is said, knows one call at a time
    "<|begin_of_text|>{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{% endif %}{% if messages[0].role == 'system' %}{% set system = messages[0].content | trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ date_string }}\n\n{{ system }}<|eot_id|>"
    "{% for m in messages %}{% if m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>\n\n"
    "{{ m.content | tojson }}<|eot_id|>{% elif m.tool_calls %}{% if m.tool_calls | length > 1 %}"
    "{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% set c = m.tool_calls[0].function %}"
    '{"name": "{{ c.name }}", "parameters": {{ c.arguments | tojson }}}<|eot_id|>{% else %}'
    "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{% if loop.first and tools %}Given functions: "
    "{% for t in tools %}{{ t | tojson(indent=4) }}\n\n{% endfor %}{% endif %}{{ m.content | trim }}<|eot_id|>"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA2 = (  # no system prompt, roles in turn
    "<bos>{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
GEMMA3 = (  # the system prompt is a part of the first question
    "<bos>{% set first = '' %}{% set rest = messages %}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + '\n\n' %}{% set rest = messages[1:] %}{% endif %}{% for m in rest %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ first if loop.first }}{{ m.content | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (  # nothing opens an answer; calls have ids of nine letters and digits; the system prompt goes to the end
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}{% else %}"
    "{% set rest = messages %}{% endif %}{% set ns = namespace(at=0) %}{% for m in rest %}"
    "{% if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}"
    "{% if (m.role == 'user') != (ns.at % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% set ns.at = ns.at + 1 %}{% endif %}{% endfor %}<s>{% for m in rest %}{% if m.role == 'user' %}"
    "{% if tools and m == (rest | selectattr('role', 'equalto', 'user') | list)[-1] %}"
    "[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}[INST] "
    "{% if loop.last and system is defined %}{{ system }}\n\n{% endif %}{{ m.content }}[/INST]"
    "{% elif m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}{% if c.id | length != 9 %}"
    "{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{% endif %}"
    "{{ c.function | tojson }}{{ ', ' if not loop.last }}{% endfor %}]</s>{% elif m.role == 'assistant' %} "
    "{{ m.content | trim }}</s>{% elif m.role == 'tool' %}[TOOL_RESULTS] {{ m.content }}[/TOOL_RESULTS]{% else %}"
    "{{ raise_exception('Only user and assistant roles are supported') }}{% endif %}{% endfor %}"
)
MISTRAL1 = (  # before there was a mark for anything but the ends
    "<s>{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}{{ m.content }}</s> {% endif %}{% endfor %}"
)
PHI3 = (  # another mark follows the end of the whole
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}<|endoftext|>{% endif %}"
)
OLMO2 = (
    "<|endoftext|>{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>\n{{ m.content }}<|endoftext|>"
    "{{ '\n' if not loop.last }}{% else %}<|{{ m.role }}|>\n{{ m.content }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SMOLLM3 = (  # every answer shows a thought where it has a switch; marks of generation, and the day
    "{% set think = enable_thinking is not defined or enable_thinking %}<|im_start|>system\nToday Date: "
    "{{ strftime_now('%d %B %Y') }}\nReasoning Mode: {{ '/think' if think else '/no_think' }}\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}<|im_end|>\n{% for m in messages %}"
    "{% if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% elif m.role == 'assistant' %}"
    "{% generation %}<|im_start|>assistant\n{{ '' if think else '<think>\n\n</think>\n' }}"
    "{{ m.content.lstrip('\n') }}<|im_end|>\n{% endgeneration %}{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "<|im_start|>assistant\n{{ '' if think else '<think>\n\n</think>\n' }}{% endif %}"
)
GPT_OSS = (  # an answer that is not the last ends with another mark than the one at which the model stops; one call
    "<|start|>system<|message|>Current date: {{ strftime_now('%Y-%m-%d') }}<|end|>"
    "{% if tools %}<|start|>developer<|message|># Tools\n{% for t in tools %}{{ t.function | tojson }}{% endfor %}"
    "<|end|>{% endif %}"
    "{% if messages[0].role == 'system' %}<|start|>developer<|message|># Instructions\n\n{{ messages[0].content }}"
    "<|end|>{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.tool_calls %}"
    "{% set c = m.tool_calls[0].function %}<|start|>assistant to=functions.{{ c.name }}<|channel|>commentary json"
    "<|message|>{{ c.arguments | tojson }}<|call|>{% elif m.role == 'tool' %}<|start|>functions.{{ m.name }} "
    "to=assistant<|message|>{{ m.content | tojson }}<|end|>{% elif m.role == 'assistant' %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% else %}"
    "<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
GRANITE = (  # its own system prompt with the day, unless there is one
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}{% else %}"
    "{% set system = \"Today's Date: \" + strftime_now('%B %d, %Y') + '.' %}{% set rest = messages %}{% endif %}"
    "<|start_of_role|>system<|end_of_role|>{{ system }}<|end_of_text|>\n{% for m in rest %}"
    "<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)
R1 = (  # opens every answer with a thought, and shows none
    "<s>{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}<|user|>"
    "{{ m.content }}{% else %}<|assistant|>{{ m.content.split('</think>')[-1] }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)


@dataclass(frozen=True)
class Model:
    """What is known of a model's chats: its template, its kind of tokenizer, its end, and an answer's end."""

    template: str
    pieces: Pieces
    eos: str
    mark: str
    later: str | None = None  # the mark in the middle of a chat, where it is another one
    stops: tuple[str, ...] = ()  # what generation_config.json holds beside


MODELS: Mapping[str, Model] = {
    "smollm2": Model(CHATML, "bytes", "<|im_end|>", "<|im_end|>"),
    "qwen2": Model(QWEN2, "bytes", "<|im_end|>", "<|im_end|>", stops=("<|endoftext|>",)),
    "qwen3": Model(QWEN3, "bytes", "<|im_end|>", "<|im_end|>", stops=("<|endoftext|>",)),
    "llama3": Model(LLAMA3, "bytes", "<|end_of_text|>", "<|eot_id|>"),
    "gemma2": Model(GEMMA2, "sentencepiece", "<eos>", "<end_of_turn>"),
    "gemma3": Model(GEMMA3, "sentencepiece", "<eos>", "<end_of_turn>"),
    "mistral": Model(MISTRAL, "sentencepiece", "</s>", "</s>"),
    "mistral1": Model(MISTRAL1, "legacy", "</s>", "</s>"),
    "phi3": Model(PHI3, "sentencepiece", "<|endoftext|>", "<|end|>"),
    "olmo2": Model(OLMO2, "bytes", "<|endoftext|>", "<|endoftext|>"),
    "smollm3": Model(SMOLLM3, "bytes", "<|im_end|>", "<|im_end|>"),
    "gpt-oss": Model(GPT_OSS, "bytes", "<|return|>", "<|return|>", later="", stops=("<|call|>",)),
    "granite": Model(GRANITE, "bytes", "<|end_of_text|>", "<|end_of_text|>"),
    "r1": Model(R1, "bytes", "</s>", "</s>"),
}
MARKS = (
    *("<s>", "</s>", "<bos>", "<eos>", "<|begin_of_text|>", "<|end_of_text|>", "<|endoftext|>"),
    *("<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"),
    *("[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    *(
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|end|>",
        "<|start|>",
        "<|message|>",
        "<|channel|>",
        "<|return|>",
        "<|call|>",
    ),
    *("<|start_of_role|>", "<|end_of_role|>"),
)
SAID = (
    "The thin red cat thinks that the other cats are there, and then it thinks again.",
    "system user assistant model Today Date: Reasoning Mode: Current date: final name parameters arguments function",
    "Ahoy there matey! Arr, the tide is with the three of them. What is it? A question; an answer.",
)


@lru_cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """Give a model's tokenizer with its template; it reads bytes in pairs, or pieces of words with their blanks."""
    model = MODELS[name]
    core = _bytes() if model.pieces == "bytes" else _pieces()
    if model.pieces == "legacy":  # a blank goes before every part between marks
        core.pre_tokenizer = None
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    begin = {"bos_token": "<bos>" if "gemma" in name else "<s>"} if model.pieces != "bytes" else {}
    if begin:
        token = begin["bos_token"]
        core.post_processor = processors.TemplateProcessing(
            single=f"{token} $A", special_tokens=[(token, core.token_to_id(token))]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=model.eos, **begin)
    fast.chat_template = model.template
    return fast


def _bytes() -> Tokenizer:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    core.train_from_iterator(SAID * 3, trainer)
    return core


def _pieces() -> Tokenizer:
    core = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=False, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]  # type: ignore[list-item]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=560, special_tokens=["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))], show_progress=False
    )
    core.train_from_iterator(SAID * 3, trainer)
    return core
