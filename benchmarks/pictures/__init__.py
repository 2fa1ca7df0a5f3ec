"""Pictures that the emoji backbone has not seen in that drawing: sets by recipe, measures, and sheets to look at."""
