"""The command line: one file per command behind a group that imports none of them until it is asked for."""
