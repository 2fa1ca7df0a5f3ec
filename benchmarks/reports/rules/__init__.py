"""What each sentence of a report claims, and how that is checked against the records."""
