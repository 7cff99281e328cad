"""The collection of strange models: models that a reader of names and shapes misreads."""

from support.strange import Strange
from support.strange_attention import ATTENTION
from support.strange_features import FEATURES
from support.strange_layouts import LAYOUTS
from support.strange_sequences import SEQUENCES
from support.strange_tokens import TOKENS

STRANGE: dict[str, Strange] = {**FEATURES, **LAYOUTS, **TOKENS, **SEQUENCES, **ATTENTION}
READ = {name: strange for name, strange in STRANGE.items() if not strange.refused}
REFUSED = {name: strange for name, strange in STRANGE.items() if strange.refused}
