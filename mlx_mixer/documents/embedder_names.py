"""Names of embedders that mean something special; alone, so that reading one opens no database code."""

# The model that comes with the package.
BUNDLED = "default"
