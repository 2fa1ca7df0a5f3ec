"""The early-stopping paper's experiment on your own data: its turning point, and where the adapter was best."""
