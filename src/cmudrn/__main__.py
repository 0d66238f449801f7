"""`python -m cmudrn`: the same command line as `cmudrn`."""

from cmudrn.cli import main

if __name__ == "__main__":
    main()
