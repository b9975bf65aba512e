"""Dataset synthesis (paper section 3.1): real portraits disturbed so that their truth is known."""
