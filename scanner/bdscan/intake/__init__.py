"""Intake: a model file and a few clean images in, a subject that detectors can use out."""

from bdscan.intake.load import Intake, load

__all__ = ["Intake", "load"]
