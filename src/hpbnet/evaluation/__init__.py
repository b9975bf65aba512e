"""Evaluation: one place where every method is measured, rows first, tables from rows."""
