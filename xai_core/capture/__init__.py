"""The shared forward and backward pass, and the views of it that explainers receive.

`needs` is what explainers request, `forward_pass` and `backward_pass` run the model, `pass_record` is the result, and
`captured` is one explainer's view. `runner` runs further passes for explainers that need them.
"""
