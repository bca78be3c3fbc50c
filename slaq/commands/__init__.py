"""The subcommands of ``slaq``: each reads its options, calls the library, and prints."""
