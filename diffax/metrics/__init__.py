"""Measures of predicted motion: pure functions of arrays in metres."""
