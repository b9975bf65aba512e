"""Clips and live frames: read, tracked, coloured, drawn and written, frame by frame."""
