"""The entry: python -m convatlas, and the command convatlas.  It imports nothing before it can be interrupted."""

import sys


def main() -> int:
    """Run the command line; returns the exit status, 130 where it was interrupted."""
    try:
        from convatlas.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("convatlas: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
