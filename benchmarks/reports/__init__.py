"""Is every sentence that a user reads true? Jobs of all presets, and a checker that derives each claim anew."""
