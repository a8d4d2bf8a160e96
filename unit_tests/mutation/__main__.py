"""Counts how many small changes of the code (mutants) the tests find.

    python -m unit_tests.mutation                          # all of them; hours
    python -m unit_tests.mutation --sample 300 --seed 1    # some, drawn from a seed
    python -m unit_tests.mutation --only look_back         # those whose name has this word

``[tool.mutmut]`` in pyproject.toml says which files are mutated and which tests run. mutmut keeps
what it needs and what it has found in the folder ``mutants``: ``mutmut browse`` shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from mutmut.__main__ import create_mutants
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import copy_also_copy_files, copy_src_dir, walk_mutatable_files

_FOUND = ("killed", "timeout")


def noted() -> dict[str, tuple[Path, int | None]]:
    """Return the file of each mutant, and the exit code of its tests, by the mutant's name."""
    return {
        name: (path, code)
        for path in sorted(walk_mutatable_files())
        for name, code in json.loads(Path("mutants", f"{path}.meta").read_text())[
            "exit_code_by_key"
        ].items()
    }


def drawn(names: list[str], sample: int | None, seed: str) -> list[str]:
    """Return so many names. The same seed always draws the same ones."""
    if sample is None or sample >= len(names):
        return names
    return sorted(Random(seed).sample(names, sample))


def main() -> int:
    """Print the mutants that were not found, and the score. Returns 1 if mutmut could not run."""
    parser = argparse.ArgumentParser(description="Count how many mutants the tests find.")
    parser.add_argument("--sample", type=int, help="so many, drawn at random; else all")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", default="", help="those whose name has this word")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began = time.monotonic()
    shutil.rmtree("mutants", ignore_errors=True)
    copy_src_dir()
    copy_also_copy_files()
    create_mutants(options.processes)
    every = list(noted())
    chosen = drawn([name for name in every if options.only in name], options.sample, options.seed)
    mutmut = Path(sys.executable).parent / "mutmut"
    command = [str(mutmut), "run", "--max-children", str(options.processes), *chosen]
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "mutants", "PYTHONDONTWRITEBYTECODE": "1"}
    if subprocess.run(command, env=environment, check=False).returncode:
        return 1
    outcomes = {name: (path, status_by_exit_code[code]) for name, (path, code) in noted().items()}
    for name in chosen:
        path, outcome = outcomes[name]
        if outcome not in _FOUND:
            print(f"\n# {outcome}: {name}\n{get_diff_for_mutant(name, path=path)}")
    counted = Counter(outcomes[name][1] for name in chosen)
    print(", ".join(f"{number} {outcome}" for outcome, number in counted.most_common()))
    score = sum(counted[one] for one in _FOUND) / len(chosen)
    seconds = time.monotonic() - began
    print(f"{score:.1%} of {len(chosen)} mutants were found, of {len(every)}, in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
