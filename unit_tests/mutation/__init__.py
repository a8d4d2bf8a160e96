"""Mutation testing of the decisions, with mutmut. See docs/testing.md, and ``make mutants``."""
