"""Hold the recipe of a small flow-matching backbone that draws emoji of 64 pixels."""
