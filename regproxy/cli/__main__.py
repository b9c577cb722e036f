"""`python -m regproxy.cli <command>` runs the same commands as `regproxy <command>`."""

from regproxy.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
