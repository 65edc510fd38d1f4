"""Inference over a survey, spread over an engine."""
