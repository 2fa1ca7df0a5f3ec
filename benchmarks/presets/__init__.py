"""A bench that sees: whether what a preset has learned is what a person would accept."""
