"""The ``source-meetings`` command. ``python -m source_meetings`` is the same."""

import gc


def main() -> None:
    """Run the command with the process's arguments. See ``run.run``.

    Objects made by imports live until the process ends. Garbage collection during the imports, and
    later passes over the same objects, took 0.3 s of every command. It runs rarely during a sync,
    because rows have no cycles.
    """
    gc.disable()
    from source_meetings.run import run

    gc.freeze()
    gc.set_threshold(20_000)
    gc.enable()
    run()


if __name__ == "__main__":
    main()
