"""The web app: maps, attention and perturbation curves of a photo in the browser, with Gradio."""
