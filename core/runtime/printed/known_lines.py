"""The closed table of what may be repeated of another process's lines: our sentences, and those of machines and stacks.

Each pattern is of fixed words, numbers, and names that core.runtime.printed.known_code has checked. What a pattern
finds is all that is repeated, so a process that was taken over can make a log false, but can't make it hold what people
sent.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass

from core.runtime.printed.known_code import KnownCode, is_code_word

NUMBER = r"\d{1,12}(?:\.\d{1,4})?"
AMOUNT = rf"{NUMBER} (?:[KMGT]iB|bytes)"
# of CUDA's own errors; in the words of its runtime
CUDA_ERRORS = """an illegal memory access was encountered|an illegal instruction was encountered|misaligned address
device-side assert triggered|unspecified launch failure|out of memory|invalid argument|invalid configuration argument
no kernel image is available for execution on the device|invalid device function|invalid device ordinal
uncorrectable ECC error encountered|uncorrectable NVLink error detected during the execution|hardware stack error
the launch timed out and was terminated|initialization error|driver shutting down|unknown error
no CUDA-capable device is detected|CUDA-capable device\\(s\\) is/are busy or unavailable
all CUDA-capable devices are busy or unavailable
CUDA driver version is insufficient for CUDA runtime version|system not yet initialized|operation not supported
the provided PTX was compiled with an unsupported toolchain\\.""".replace("\n", "|")
STATUS = "(?:CUBLAS|CUDNN|CUSOLVER|CUSPARSE)_STATUS_"
STATUSES = (
    "ALLOC_FAILED|ARCH_MISMATCH|BAD_PARAM|EXECUTION_FAILED|INTERNAL_ERROR|INVALID_VALUE|MAPPING_ERROR|NOT_INITIALIZED"
    "|NOT_SUPPORTED"
)
FATAL = "Aborted|Bus error|Floating(?:-| )point exception|Illegal instruction|Segmentation fault|Stack overflow"
SYSTEM_ERRORS = "|".join(re.escape(os.strerror(number)) for number in sorted(errno.errorcode))
SENTENCES = [
    re.compile(pattern, re.ASCII)
    for pattern in (
        rf"CUDA out of memory\.(?: Tried to allocate {AMOUNT}\.)?",
        rf"GPU \d{{1,3}} has a total capacity of {AMOUNT} of which {AMOUNT} is free\.",
        rf"this process has {AMOUNT} memory in use",
        rf"{AMOUNT} is allocated by PyTorch, and {AMOUNT} is reserved by PyTorch but unallocated",
        r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory)",
        rf"you tried to allocate {AMOUNT}",
        rf"CUDA error: (?:{CUDA_ERRORS})",
        rf"\b{STATUS}(?:{STATUSES})\b",
        r"Found no NVIDIA driver on your system|Torch not compiled with CUDA enabled|No CUDA GPUs are available",
        rf"The NVIDIA driver on your system is too old \(found version {NUMBER}\)",
        rf"mat1 and mat2 shapes cannot be multiplied \({NUMBER}x{NUMBER} and {NUMBER}x{NUMBER}\)",
        r"Expected all tensors to be on the same device",
        r"terminate called after throwing an instance of '(?:c10::Error|c10::AcceleratorError|std::bad_alloc)'",
        rf"Fatal Python error: (?:{FATAL})",
        rf"\[Previous line repeated {NUMBER} more times\]",
        rf"\(os error {NUMBER}\)",
        rf"(?:^|: )(?:{SYSTEM_ERRORS})(?=$|: )",
        # core.uploads.decoder
        r"reader: a decoder ended with -?\d{1,3}",
        rf"reader: the waiting decoder is gone: (?:{SYSTEM_ERRORS})",
        r"reader: an upload was not read",
        r"^which led to$",
        r"^Traceback \(most recent call last\):$",
        r"^During handling of the above exception, another exception occurred:$",
        r"^The above exception was the direct cause of the following exception:$",
    )
]
FRAME = re.compile(r' {2}File "([^"]+)", line (\d{1,7}),? in (\S{1,200})')
THREAD = re.compile(r"(Current thread|Thread) 0x[0-9a-f]+(?: .*)? \(most recent call first\):")
KIND = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*))?", re.ASCII)
WARNING = re.compile(r'([^":]+):(\d{1,7}): ([A-Za-z_]\w*): .*', re.ASCII)
ERROR_NUMBER = re.compile(r"\[Errno (\d{1,3})\]")
MARKERS = re.compile(r" {4}[ ~^]+")
ELSEWHERE = "  in code that is not installed here"


@dataclass(frozen=True)
class Repeated:
    """What may be logged of a line, and whether it tells of trouble; libraries warn of much that is none."""

    text: str
    trouble: bool = True


class KnownLines:
    """Reads the lines of one process in turn."""

    def __init__(self, code: KnownCode) -> None:
        self._code = code
        self._source = ""  # of the frame or warning in the line before, which is shown below it

    def repeated(self, line: str) -> Repeated | None:
        """Return what may be logged of a line; None where that is nothing."""
        source, self._source = self._source, ""
        if source and (line.strip() == source or MARKERS.fullmatch(line)):
            return Repeated(f"    {source}" if line.strip() == source else "", trouble=False)
        if (frame := FRAME.fullmatch(line)) is not None:
            return self._frame(*frame.groups())
        if (thread := THREAD.fullmatch(line)) is not None:
            return Repeated(f"{thread[1]} (most recent call first):")
        if (warning := WARNING.fullmatch(line)) is not None and self._is_warning(*warning.groups()):
            self._source = self._code.line(warning[1], int(warning[2]))
            return Repeated(f"{warning[3]} at {warning[1]}:{warning[2]}", trouble=False)
        kind = KIND.fullmatch(line)
        if kind is not None and self._code.kind(kind[1]):
            words = self._words(kind[1], kind[2] or "")
            return Repeated(f"{kind[1]}: {words}" if words else kind[1])
        words = sentences(line)
        return Repeated(words) if words else None

    def _frame(self, path: str, number: str, name: str) -> Repeated:
        line = int(number)
        if not self._code.place(path, line, name):
            return Repeated(ELSEWHERE)
        self._source = self._code.line(path, line)
        return Repeated(f'  File "{path}", line {line}, in {name}')

    def _words(self, kind: str, words: str) -> str:
        ours = kind.startswith("core.errors.") and is_code_word(words)
        return words if ours else sentences(words)

    def _is_warning(self, path: str, number: str, kind: str) -> bool:
        return self._code.place(path, int(number), "<module>") and (self._code.kind(kind) or kind == "ScoreWarning")


def sentences(words: str) -> str:
    """Return the sentences of the table that stand in some words, and the words of a system's error number."""
    found = [
        match[0].removeprefix(": ").removesuffix(".")
        for pattern in SENTENCES
        if (match := pattern.search(words)) is not None
    ]
    number = ERROR_NUMBER.search(words)
    return "; ".join([os.strerror(int(number[1])), *found] if number and not found else found)
