"""One JSON schema (draft-07) per stream, installed as the package ``source_meetings.schemas``."""
