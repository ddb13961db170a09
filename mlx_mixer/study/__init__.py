"""The paper's claims at this machine's scale: masked mixers beside mlx-lm's Llama, everything else being equal.

Leaves: `settings` (what can be chosen), `texts` (windows of tokens), `contenders` and `autoencoders` (models of equal
size), `cells` (results that a killed study goes on from), `table` and `plot`. On them `race` trains contenders for
equal compute, and `recovery`, `learning`, `retrieval` and `autoencoder` are the four studies.
"""
