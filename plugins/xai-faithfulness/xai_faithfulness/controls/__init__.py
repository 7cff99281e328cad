"""Maps that know nothing of the model: what a score of a method has to be compared with."""
