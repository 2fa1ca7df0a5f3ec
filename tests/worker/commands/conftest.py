"""A tiny backbone for the commands, and one thread to train it with."""

from tests.core.method.conftest import _one_thread, tiny_diffusion_folder  # noqa: F401 (fixtures)
