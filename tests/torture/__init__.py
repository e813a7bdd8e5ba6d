"""Trainings in processes of their own, hurt in every way we could think of; ``python -m tests.torture`` runs it all."""
