"""Training: one readable loop per task over one run directory."""
