"""Networks of known truth: attacks, training, and the plans that detectors are measured on."""
