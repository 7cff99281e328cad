"""One shared forward and backward pass, and the views of it that explainers receive."""
