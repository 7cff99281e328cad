"""Methods and metrics that are set aside: what they did once would cost the others if they were called again."""

from collections.abc import Iterable


class Quarantine:
    """Which methods, metrics, and metrics on one method's maps are not called again, and why."""

    def __init__(self) -> None:
        self._of_run: dict[tuple[str, str], str] = {}
        self._of_model: dict[tuple[str, str], str] = {}

    def set_for_model(self, method: str, metric: str, why: str) -> None:
        """Set a method, a metric, or the metric on the method's maps aside for the model at hand."""
        self._of_model[method, metric] = why

    def set_for_run(self, method: str, metric: str, why: str) -> None:
        """The same for the run."""
        self._of_run[method, metric] = why

    def times(self, metric: str) -> int:
        """On how many methods' maps a metric is set aside for the model at hand."""
        return sum(one == metric for _, one in self._of_model)

    def next_model(self) -> None:
        """Forget what was of one model."""
        self._of_model.clear()

    def why(self, method: str, metric: str = "") -> str | None:
        """Why a method, or a metric on its maps, is set aside; None where it is not."""
        known = {**self._of_model, **self._of_run}
        places = [(method, "")] if not metric else [("", metric), (method, metric)]
        return next((f"set aside: {known[place]}" for place in places if place in known), None)

    def left(self, methods: Iterable[str]) -> list[str]:
        """Those of some methods that are not set aside."""
        return [method for method in methods if self.why(method) is None]
