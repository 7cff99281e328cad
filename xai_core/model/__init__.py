"""Knowledge about a model: its layers, their layouts, attention and attention modules, and ways to run it.

`adapter` describes a model for images of one size, based on one `probe` forward pass. `execution` runs models
without side effects, and `shared_copy` copies the modules but shares their parameters.
"""
