"""`python -m earwitness`: the command line."""

from earwitness.cli.main import run

if __name__ == "__main__":
    run()
