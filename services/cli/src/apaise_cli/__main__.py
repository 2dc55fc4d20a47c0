"""`python -m apaise_cli` is `apaise`."""

from apaise_cli.main import entry

if __name__ == "__main__":
    entry()
