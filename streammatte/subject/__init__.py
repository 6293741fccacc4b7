"""Whom a matte is about: prompts, and trackers that follow what they name through a clip."""
