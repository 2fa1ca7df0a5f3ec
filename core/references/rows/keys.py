"""The keys of rows and messages: which say nothing about what is learned, which say what is not learned, the rest.

Every key is used, known as harmless, or refused by its name: one that is passed over without a word may be a mask.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from core.references.rows.remarks import Remarks
from core.text_safety import shown

MAX_REFUSED = 8  # keys that one sentence names
MAX_SHOWN = 25  # characters of a key that a sentence repeats

# where a row or message comes from, what it is about, and how long it is: nothing of it is learned
_HARMLESS = """
id idx index _id uid uuid guid custom_id item_id row_id doc_id document_id example_id sample_id question_id prompt_id
message_id parent_id parent_message_id conversation_id conv_id dialog_id dialogue_id chat_id thread_id session_id
turn_id conversation_hash hash md5 sha256 __index_level_0__ unnamed:_0
source src origin dataset dataset_name data_source url uri link links license licence author authors creator annotator
generator model model_name model_id engine provider version api_version system_fingerprint object service_tier store
created created_at createdat updated updated_at date datetime time timestamp create_time update_time
metadata meta extra_info info tag tags keyword keywords category categories topic topics subtopic task
task_type task_name task_id domain field subject title language lang locale difficulty level
comment comments note notes description score scores rating quality toxicity redacted openai_moderation detoxify
num_turns turn turns num_tokens token_count tokens n_tokens length len char_count word_count usage
name user user_id username finish_reason parallel_tool_calls annotations cache_control status schemaversion
tool_choice tool_config toolconfig thoughtsignature thought_signature
temperature top_p top_k max_tokens max_completion_tokens frequency_penalty presence_penalty seed logprobs stream
"""
HARMLESS = frozenset(_HARMLESS.split())
# true or 1: the message is learned; false or 0: it is read and not learned. Each is a habit of some trainer:
# train, training: axolotl; loss_mask: verl; the others of data sets that were made for loops of their own
LEARNED = ("train", "training", "trainable", "train_on", "is_trainable", "loss", "loss_mask", "compute_loss", "learn")
NOT_LEARNED = ("masked", "ignore_loss")  # the other way round
KNOWN = HARMLESS | {"weight", "split", *LEARNED, *NOT_LEARNED}  # beside what is learned
_LEAVE_OUT = 'for what is not to be learned leave the row out, or give the message "weight": 0'
# false or nothing is what is done here; true is not
SETTINGS = {
    "train_on_inputs": "the questions are never learned here; leave it out",
    "train_on_input": "the questions are never learned here; leave it out",
    "train_on_prompt": "the questions are never learned here; leave it out",
    "mask_history": 'give earlier answers "weight": 0 instead',
    "prefix": "an answer that goes on from a begin is not known here; leave it out",
    "prefill": "an answer that goes on from a begin is not known here; leave it out",
    "partial": "an answer that goes on from a begin is not known here; leave it out",
    **dict.fromkeys(("ignore", "ignored", "skip", "exclude", "deleted", "discarded", "flagged"), _LEAVE_OUT),
}
# a value that says that this is not to be learned, of a key that is harmless otherwise
UNWANTED: Mapping[str, frozenset[object]] = {
    "status": frozenset({"rejected", "discarded", "deleted", "failed", "incomplete", "in_progress", "cancelled"}),
    "finish_reason": frozenset({"length", "content_filter"}),
}
_REASONING = """
reasoning reasoning_content reasoning_text reasoning_details reasoning_trace thinking thinking_content
thinking_blocks thought thoughts chain_of_thought cot rationale scratchpad analysis
"""
REASONING = frozenset(_REASONING.split())
_TOOLS = """
tools functions tool_calls function_call tool_call_id tool_responses tool_call function_calls available_tools
observation
"""
TOOLS = frozenset(_TOOLS.split())
_PICTURES = "image images image_url video videos audio audios file files attachments"
PICTURES = frozenset(_PICTURES.split())
_PAIRS = "chosen rejected preferred_output non_preferred_output rejected_response chosen_response"
PAIRS = frozenset(_PAIRS.split())
_SPANS = 'masks of parts of a text are not known here; give whole messages "weight": 0, or leave it out'
_WEIGHTS = 'only "weight": 0 (not learned) and 1 (learned) are known here; leave it out'
_NOT_LABELS = "write what shall be learned of them as an answer, or leave them out"
UNKNOWN = "leave it out, or rename it if it holds what shall be learned"
UNKNOWN_KEYS = "leave them out, or rename what holds what shall be learned"
_NOT_HERE = "it is not learned here; leave it out, or write it into what the model shall answer"
# beside a chat
_BESIDE = """
completion response answer output ground_truth ideal expected_output correct_answer reference_answer
"""
ANSWERS_BESIDE = frozenset(_BESIDE.split())
# what to do about keys that mean something
ADVICE = {
    **dict.fromkeys(("train_detail", "training_detail", "spans", "loss_masks", "token_mask", "labels_mask"), _SPANS),
    **dict.fromkeys(
        ("weights", "sample_weight", "loss_weight", "importance", "token_weights", "turn_weights"), _WEIGHTS
    ),
    **dict.fromkeys(("label", "labels", "reward", "rewards", "rank", "class", "kto_tag"), _NOT_HERE),
    # some write 1 for what is learned, and others for what is not
    "mask": 'write "weight": 0 for a message that is not learned, 1 for one that is',
    **dict.fromkeys(ANSWERS_BESIDE, "of a chat the last message is the answer; make it that, or leave it out"),
    "refusal": "it is a refusal, not an answer; leave the row out, or make it the content",
    "split": "rows that are not for training go into a file of their own, the validation_file",
    **dict.fromkeys(("context", "documents", "passage", "inputs"), "put it into the question, as it shall be asked"),
    "text": 'what a message says is its "content", and a row is a chat or a text, not both',
    "history": "write the earlier questions and answers as messages",
    "system": "write it as the first of the messages, with the role system",
    "mapping": "it looks like an export of ChatGPT; write each chat as messages",
    "input_ids": "texts are learned here, not tokens; write the text",
}
# even where it is empty, as the row is not one of texts at all
CAPTIONS = ("file_name", "filename", "image_path", "image_file")
NO_CAPTIONS = "it is the caption of an image; send it in a zip with the images"
HARMLESS_VALUES = frozenset({("split", "train"), ("split", "training"), ("type", "message")})
NAMED = KNOWN | set(SETTINGS) | REASONING | TOOLS | PICTURES | PAIRS | set(ADVICE) | {"type"}  # in a finding
EMPTY = "others that are empty"
_TOOLS_GO = (
    'tools stand beside the messages, calls in the "tool_calls" of the assistant\'s, and results in messages of the '
    "role tool"
)
NO_PAIRS = "it is a preference pair (dpo), which is not learned here; make the preferred answer the last message"
NO_PICTURES = "it holds an image, a sound or a file; chats are learned as text only"


def given(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row or a message without the keys that are null: those are not given."""
    return {key: value for key, value in row.items() if value is not None}


def check_rest(row: Mapping[str, Any], used: Collection[str], where: str, remarks: Remarks) -> None:
    """Note the keys that are known as harmless; raise ValueError that names all other ones, and what to do.

    `where` says whose keys they are: "it" or "message 3 (assistant)".
    """
    refused = []
    for key in row:
        if key in used or key in LEARNED or key in NOT_LEARNED or key == "weight":
            continue
        if key in CAPTIONS:
            raise ValueError(NO_CAPTIONS)
        if (mask := _mask_within(row[key])) is not None:
            todo = "write it beside what it is about, or leave it out"
            raise ValueError(f'"{shown(key)[:MAX_SHOWN]}" of {where} holds "{mask}", which is not read there; {todo}')
        if _is_harmless(key, row[key], where):
            remarks.ignored.add(plain(key) if plain(key) in NAMED else EMPTY)
        else:
            refused.append(key)
    if refused:
        raise ValueError(_refusals(refused, row, where))


def _is_harmless(key: str, value: object, where: str) -> bool:
    if value in ("", [], {}) or (key in SETTINGS and value in (False, 0)):
        return True
    if not isinstance(value, list | dict) and value in UNWANTED.get(key, ()):
        return False
    if key == "annotations":  # of a message they are links of a search; of a row what somebody has labelled
        return where != "it"
    return plain(key) in HARMLESS or (isinstance(value, str) and (key, value) in HARMLESS_VALUES)


def _mask_within(value: object) -> str | None:
    """Return the first key of an object that says what is not learned: it would be passed over with the object."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        name = plain(key)
        marks = name in (*LEARNED, *NOT_LEARNED, "weight") and inner is not None and inner not in ("", [], {})
        apart = name == "split" and isinstance(inner, str) and ("split", inner.lower()) not in HARMLESS_VALUES
        if marks or apart:
            return name
    return None


def plain(key: str) -> str:
    """Return a key in small letters and with underscores, as it is known."""
    return key.strip().lower().replace(" ", "_").replace("-", "_")


def _refusals(refused: Sequence[str], row: Mapping[str, Any], where: str) -> str:
    """Say of all keys what to do; those that nobody knows in one sentence."""
    unknown = [key for key in refused if _meaning(key, row[key], where) is None]
    if len(unknown) < 2:
        return "; ".join(dict.fromkeys(_refusal(key, row[key], where) for key in refused[:MAX_REFUSED]))
    names = ", ".join(f'"{shown(key)[:MAX_SHOWN]}"' for key in unknown[:MAX_REFUSED])
    more = f" and {len(unknown) - MAX_REFUSED} more" if len(unknown) > MAX_REFUSED else ""
    told = [f"{where} has the keys {names}{more}, which are not known here; {UNKNOWN_KEYS}"]
    told += [_refusal(key, row[key], where) for key in refused[:MAX_REFUSED] if key not in unknown]
    return "; ".join(dict.fromkeys(told))


def _refusal(key: str, value: object, where: str) -> str:
    return _meaning(
        key, value, where
    ) or f'{where} has the key "{shown(key)[:MAX_SHOWN]}", which is not known here; ' + (
        f"{UNKNOWN}; {_LEAVE_OUT}" if isinstance(value, bool) else UNKNOWN
    )


def _meaning(key: str, value: object, where: str) -> str | None:
    """Say what a key that is refused means, and what to do; None where it is not known."""
    if key in PAIRS or key in PICTURES:
        return NO_PAIRS if key in PAIRS else NO_PICTURES
    if key in TOOLS:
        return f'the "{key}" of {where} is not read there; {_TOOLS_GO}'
    if key in REASONING:
        todo = "write it into the answer, as the model shall write it, or leave it out"
        return f'the "{key}" of {where} would not be learned; {todo}'
    if key in UNWANTED and plain(key) in HARMLESS:
        says = "says that it was rejected, deleted or cut short"
        return f'the "{key}" of {where} {says}; {_LEAVE_OUT}, or leave this key out'
    if key == "annotations":
        return f'the "annotations" of {where} would not be learned; {_NOT_LABELS}'
    mask = plain(key)
    if key != mask and (mask == "weight" or mask in LEARNED or mask in NOT_LEARNED):
        return f'{where} has the key "{shown(key)[:MAX_SHOWN]}", which is not known here; write it as "{mask}"'
    advice = ADVICE.get(key) or SETTINGS.get(key)
    return f'{where} has the key "{key}", which is not known here; {advice}' if advice else None


def is_learned(row: Mapping[str, Any], where: str, remarks: Remarks) -> bool | None:
    """Return what the weight and the masks of a row or a message say, None where they say nothing.

    Raises ValueError where one has another value than true, false, 0 and 1, and where two say the opposite.
    """
    said: dict[str, bool] = {}
    for key in ("weight", *LEARNED, *NOT_LEARNED):
        value = row.get(key)
        if value is None:
            continue
        if isinstance(value, str | list | dict) or value not in (0, 1):
            raise ValueError(_no_mask(key, value, where))
        said[key] = bool(value) != (key in NOT_LEARNED)
        if key != "weight":
            remarks.masked.add(key)
    if len(set(said.values())) > 1:
        first, second = next(k for k in said if said[k]), next(k for k in said if not said[k])
        raise ValueError(
            f'"{first}" of {where} says that it is learned and "{second}" that it is not; keep one of them'
        )
    return next(iter(said.values()), None)


def check_part(part: Mapping[str, Any], where: str, remarks: Remarks) -> None:
    """Raise ValueError where a part of a message is marked as not learned: a message is learned whole or not."""
    if is_learned(part, where, remarks) is False:
        raise ValueError(f"{where} is marked as not learned; {_SPANS}")


def _no_mask(key: str, value: object, where: str) -> str:
    if isinstance(value, str) and value.lower() in ("true", "false", "0", "1") and key != "weight":
        return f'"{key}" of {where} is a string; write true or false, without quotes'
    if key == "weight":
        return f"{where} has a weight other than 0 (it is not learned) and 1 (it is); write one of these two numbers"
    return f'"{key}" of {where} is neither true nor false; {_SPANS}'
