"""Methods and metrics that are disabled after a timeout or a memory leak."""

from collections.abc import Iterable


class Quarantine:
    """Records which methods and metrics are disabled, and why. A metric can be disabled for one method's maps."""

    def __init__(self) -> None:
        self._of_run: dict[tuple[str, str], str] = {}
        self._of_model: dict[tuple[str, str], str] = {}

    def disable_for_model(self, method: str, metric: str, reason: str) -> None:
        """Disable a metric on the maps of a method for the current model. An empty name stands for all of them."""
        self._of_model[method, metric] = reason

    def disable_for_run(self, method: str, metric: str, reason: str) -> None:
        """Disable a metric on the maps of a method for the whole run. An empty name stands for all of them."""
        self._of_run[method, metric] = reason

    def times_disabled(self, metric: str) -> int:
        """Return the number of methods on whose maps the metric is disabled for the current model."""
        return sum(disabled == metric for _, disabled in self._of_model)

    def next_model(self) -> None:
        """Forget which methods and metrics are disabled for the current model only."""
        self._of_model.clear()

    def reason(self, method: str, metric: str = "") -> str | None:
        """Return why a method, or a metric on the method's maps, is disabled. None means that it is enabled."""
        reasons = {**self._of_model, **self._of_run}
        keys = [("", metric), (method, metric)] if metric else [(method, "")]
        return next((f"disabled: {reasons[key]}" for key in keys if key in reasons), None)

    def enabled(self, methods: Iterable[str]) -> list[str]:
        """Return the methods that are not disabled."""
        return [method for method in methods if self.reason(method) is None]
