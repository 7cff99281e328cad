"""What is known of a model: its layers, layouts, attention and gates, and how it is run."""
