"""The text on which converted models are compared with their source; its perplexity is reported."""

TEXT = (
    "When the rain had stopped, the old woman opened her window and looked down at the street. A boy with a red kite "
    "was running along the river, and his dog ran after him as fast as it could. She laughed, because she remembered "
    "how she had once lost such a kite in the tall trees behind the school, and how her father climbed up to find it."
)
