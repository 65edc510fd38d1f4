"""Training sets and trainings, spread over an engine."""
