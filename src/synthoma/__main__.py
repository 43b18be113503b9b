"""``python -m synthoma``: the same as ``synthoma``."""

from synthoma.commands import main

if __name__ == "__main__":
    main()
