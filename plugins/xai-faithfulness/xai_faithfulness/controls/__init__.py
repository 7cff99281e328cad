"""Control methods, whose maps do not depend on the model. A useful method should score better."""
