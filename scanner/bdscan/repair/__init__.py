"""Repair: unlearn recovered triggers, and prove that it worked."""
