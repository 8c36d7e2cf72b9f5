"""Retention: who stays, counted on any day, by segment and cohort. It needs no model."""
