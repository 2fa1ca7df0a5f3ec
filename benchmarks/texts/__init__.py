"""The text side of the bench: sets to learn, the experiment of a language model, and how far its behaviour moves."""
