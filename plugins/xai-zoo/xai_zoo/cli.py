"""The command line: `xai-zoo train`, `xai-zoo accuracy`."""

from xai_core.plugin import command_line
from xai_zoo.training.command import accuracy, train

app = command_line("xai-zoo", "Train models, and measure their accuracy.")
app.command()(accuracy)
app.command()(train)


def main() -> None:
    """Run the command line."""
    app(prog_name="xai-zoo")
