"""CLIP's vocabulary, as OpenAI gives it out, in the two lists that a tokenizer of transformers is made of."""

from __future__ import annotations

import gzip
from pathlib import Path

FILE = Path(__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
TOKENS = 49_408
END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the number of every token, and the pairs that are joined, first ones first (CLIP's simple_tokenizer)."""
    letters = byte_letters()
    lines = gzip.decompress(FILE.read_bytes()).decode().split("\n")
    pairs = TOKENS - 2 * len(letters) - 2
    merges = [(first, second) for first, second in (line.split() for line in lines[1 : pairs + 1])]
    tokens = [*letters, *(letter + END_OF_WORD for letter in letters), *map("".join, merges), START, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def byte_letters() -> list[str]:
    """Return a letter for each byte: printable ones are their own, and those come first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = len(set(range(256)) - set(printable))
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(others)]
