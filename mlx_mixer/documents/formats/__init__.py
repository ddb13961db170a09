"""The formats that only a child process parses: one module each, with ``read(data, out)``.

A module puts what it finds into a `builder.Builder`, block by block, and raises `UnreadableError` with a reason for
people where there is nothing to find. Anything else it raises means that the file is damaged.
"""
