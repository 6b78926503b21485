"""Scans on a Ray cluster: Ray is the engine (engine.py), ours is the job (job.py)."""
