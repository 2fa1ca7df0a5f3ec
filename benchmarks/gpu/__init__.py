"""What only a GPU can tell; all of it runs offline, and on CUDA such that it can be repeated."""

import os

os.environ.update(  # before torch and the libraries that read them are imported
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    TQDM_DISABLE="1",
    CUBLAS_WORKSPACE_CONFIG=":4096:8",
    TOKENIZERS_PARALLELISM="false",
    DIFFUSERS_VERBOSITY="error",
    TRANSFORMERS_VERBOSITY="error",
)
