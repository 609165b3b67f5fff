"""`python -m sandbox_client` is the `sandbox` command."""

from sandbox_client.cli import main

if __name__ == "__main__":
    main()
