"""What docs/method.md says that the runs of the method benchmark do not answer, measured on the small model."""
