"""Logits of llama.cpp, by its C interface as the wheel `xllamacpp` exports it. Run as a program, without our code.

`python -I llama.py BASE.gguf ADAPTER.gguf|- OUT.npy ID,ID,...` writes the logits (ids, vocabulary).
"""

import ctypes
import importlib.util
import sys
from pathlib import Path

import numpy as np

# where llama.cpp b11549 keeps what is set here, and what it must hold before: another build is noticed, not misread
CONTEXT_BYTES, MODEL_BYTES = 168, 80
DEFAULTS = {0: 512, 4: 2048, 8: 512, 104: 1, 108: 1}
CONTEXT, BATCH, THREADS, BATCH_THREADS, FLASH, KEYS, VALUES = 0, 4, 28, 32, 52, 104, 108


class ContextParameters(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_ubyte * CONTEXT_BYTES)]


class ModelParameters(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_ubyte * MODEL_BYTES)]


class Batch(ctypes.Structure):
    _fields_ = [
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    ]


def library() -> ctypes.CDLL:
    [folder] = importlib.util.find_spec("xllamacpp").submodule_search_locations
    loaded = ctypes.CDLL(str(Path(folder) / "xllamacpp.abi3.so"))
    loaded.llama_context_default_params.restype = ContextParameters
    loaded.llama_model_default_params.restype = ModelParameters
    for name in ("llama_model_load_from_file", "llama_init_from_model", "llama_adapter_lora_init"):
        getattr(loaded, name).restype = ctypes.c_void_p
    loaded.llama_model_load_from_file.argtypes = [ctypes.c_char_p, ModelParameters]
    loaded.llama_init_from_model.argtypes = [ctypes.c_void_p, ContextParameters]
    loaded.llama_adapter_lora_init.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    loaded.llama_set_adapters_lora.argtypes = [
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_float),
    ]
    loaded.llama_batch_init.restype = Batch
    loaded.llama_decode.argtypes = [ctypes.c_void_p, Batch]
    loaded.llama_get_logits_ith.argtypes = [ctypes.c_void_p, ctypes.c_int32]
    loaded.llama_get_logits_ith.restype = ctypes.POINTER(ctypes.c_float)
    loaded.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
    loaded.llama_model_get_vocab.restype = ctypes.c_void_p
    loaded.llama_vocab_n_tokens.argtypes = [ctypes.c_void_p]
    return loaded


def context_parameters(llama: ctypes.CDLL) -> ContextParameters:
    chosen = llama.llama_context_default_params()
    words = ctypes.cast(ctypes.byref(chosen), ctypes.POINTER(ctypes.c_int32))
    found = {place: words[place // 4] for place in DEFAULTS}
    assert found == DEFAULTS, f"this is another build of llama.cpp: {found}"
    for place, value in {CONTEXT: 256, BATCH: 256, THREADS: 1, BATCH_THREADS: 1, FLASH: 0, KEYS: 0, VALUES: 0}.items():
        words[place // 4] = value  # no flash attention, keys and values in float32
    return chosen


def logits(base: str, adapter: str, ids: list[int]) -> np.ndarray:
    llama = library()
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(base.encode(), llama.llama_model_default_params())
    assert model, "llama.cpp did not take the base"
    context = llama.llama_init_from_model(model, context_parameters(llama))
    if adapter != "-":
        loaded = llama.llama_adapter_lora_init(model, adapter.encode())
        assert loaded, "llama.cpp did not take the adapter"
        scale = ctypes.c_float(1.0)
        assert (
            llama.llama_set_adapters_lora(context, ctypes.byref(ctypes.c_void_p(loaded)), 1, ctypes.byref(scale)) == 0
        )
    batch = llama.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for place, token in enumerate(ids):
        batch.token[place], batch.pos[place], batch.n_seq_id[place] = token, place, 1
        batch.seq_id[place][0], batch.logits[place] = 0, 1
    assert llama.llama_decode(context, batch) == 0
    width = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    rows = [np.ctypeslib.as_array(llama.llama_get_logits_ith(context, place), (width,)) for place in range(len(ids))]
    return np.stack(rows)


if __name__ == "__main__":
    _, base, adapter, out, words = sys.argv
    np.save(out, logits(base, adapter, [int(word) for word in words.split(",")]))
