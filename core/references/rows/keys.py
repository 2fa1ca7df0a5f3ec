"""The keys of rows and messages: which say nothing about what is learned, which say what is not learned, the rest.

Every key is used, known as harmless, or refused by its name: one that is passed over without a word may be a mask.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from core.references.rows.remarks import Remarks
from core.text_safety import shown

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
name user user_id username finish_reason parallel_tool_calls annotations cache_control status
"""
HARMLESS = frozenset(_HARMLESS.split())
# true or 1: the message is learned; false or 0: it is read and not learned. Each is a habit of some trainer:
# train, training: axolotl; loss_mask: verl; the others of data sets that were made for loops of their own
LEARNED = ("train", "training", "trainable", "train_on", "is_trainable", "loss", "loss_mask", "compute_loss", "learn")
NOT_LEARNED = ("masked", "ignore_loss")  # the other way round
KNOWN = HARMLESS | {"weight", "split", *LEARNED, *NOT_LEARNED}  # beside what is learned
# false or nothing is what is done here; true is not
SETTINGS = {
    "train_on_inputs": "the questions are never learned here; leave it out",
    "train_on_input": "the questions are never learned here; leave it out",
    "train_on_prompt": "the questions are never learned here; leave it out",
    "mask_history": 'give earlier answers "weight": 0 instead',
    "prefix": "an answer that goes on from a begin is not known here; leave it out",
    "prefill": "an answer that goes on from a begin is not known here; leave it out",
    "partial": "an answer that goes on from a begin is not known here; leave it out",
    "ignore": 'for what is not to be learned leave the row out, or give the message "weight": 0',
    "skip": 'for what is not to be learned leave the row out, or give the message "weight": 0',
    "exclude": 'for what is not to be learned leave the row out, or give the message "weight": 0',
    "mask": 'write "weight": 0 for a message that is not learned, 1 for one that is',
}
_REASONING = """
reasoning reasoning_content reasoning_text reasoning_details reasoning_trace thinking thinking_content
thinking_blocks thought thoughts chain_of_thought cot rationale scratchpad analysis
"""
REASONING = frozenset(_REASONING.split())
_TOOLS = """
tools functions tool_calls function_call tool_call_id tool_choice tool_responses tool_call function_calls
available_tools observation
"""
TOOLS = frozenset(_TOOLS.split())
_PICTURES = "image images image_url video videos audio audios file files attachments"
PICTURES = frozenset(_PICTURES.split())
_PAIRS = "chosen rejected preferred_output non_preferred_output rejected_response chosen_response"
PAIRS = frozenset(_PAIRS.split())
_SPANS = 'masks of parts of a text are not known here; give whole messages "weight": 0, or leave it out'
_WEIGHTS = 'only "weight": 0 (not learned) and 1 (learned) are known here; leave it out'
_NOT_HERE = "it is not learned here; leave it out, or write it into what the model shall answer"
# what to do about keys that mean something
ADVICE = {
    **dict.fromkeys(("train_detail", "training_detail", "spans", "loss_masks", "token_mask", "labels_mask"), _SPANS),
    **dict.fromkeys(
        ("weights", "sample_weight", "loss_weight", "importance", "token_weights", "turn_weights"), _WEIGHTS
    ),
    **dict.fromkeys(("label", "labels", "reward", "rewards", "rank", "class", "kto_tag"), _NOT_HERE),
    "refusal": "it is a refusal, not an answer; leave the row out, or make it the content",
    "split": "rows that are not for training go into a file of their own, the validation_file",
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
NO_TOOLS = "it has tools or tool calls, which are not learned here; leave them out, or the whole line"
NO_PAIRS = "it is a preference pair (dpo), which is not learned here; make the preferred answer the last message"
NO_PICTURES = "it holds an image, a sound or a file; chats are learned as text only"


def given(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row or a message without the keys that are null: those are not given."""
    return {key: value for key, value in row.items() if value is not None}


def check_rest(row: Mapping[str, Any], used: Collection[str], where: str, remarks: Remarks) -> None:
    """Note the keys that are known as harmless; raise ValueError that names the first other one, and what to do.

    `where` says whose keys they are: "it" or "message 3 (assistant)".
    """
    for key in row:
        if key in used or key in LEARNED or key in NOT_LEARNED or key == "weight":
            continue
        if key in CAPTIONS:
            raise ValueError(NO_CAPTIONS)
        empty = row[key] in ("", [], {}) or (key in SETTINGS and row[key] in (False, 0))
        harmless = plain(key) in HARMLESS or (isinstance(row[key], str) and (key, row[key]) in HARMLESS_VALUES)
        if not harmless and not empty:
            raise ValueError(_refusal(key, where))
        remarks.ignored.add(plain(key) if plain(key) in NAMED else EMPTY)


def plain(key: str) -> str:
    """Return a key in small letters and with underscores, as it is known."""
    return key.strip().lower().replace(" ", "_").replace("-", "_")


def _refusal(key: str, where: str) -> str:
    if key in TOOLS:
        return NO_TOOLS
    if key in PAIRS:
        return NO_PAIRS
    if key in PICTURES:
        return NO_PICTURES
    if key in REASONING:
        todo = "write it into the answer, as the model shall write it, or leave it out"
        return f'the "{key}" of {where} would not be learned; {todo}'
    advice = ADVICE.get(key) or SETTINGS.get(key) or "leave it out, or rename it if it holds what shall be learned"
    return f'{where} has the key "{shown(key)[:MAX_SHOWN]}", which is not known here; {advice}'


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


def _no_mask(key: str, value: object, where: str) -> str:
    if key == "weight":
        return f"{where} has a weight other than 0 (it is not learned) and 1 (it is); write one of these two numbers"
    return f'"{key}" of {where} is neither true nor false; {_SPANS}'
