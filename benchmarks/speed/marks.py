"""Words that the processes of a benchmark recognize in each other's output."""

EDITED = "edited by the benchmark"
IMPORTED = "imported at"
