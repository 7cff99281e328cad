"""The command line: `xai demo`, `xai explain`, `xai list`."""

from xai_core.cli.commands import command_line
from xai_core.cli.demo import demo
from xai_core.cli.explain import explain
from xai_core.cli.listing import listing

app = command_line("xai-core", "Explain PyTorch vision models: saliency maps, and how faithful they are.")
app.command()(demo)
app.command()(explain)
app.command("list")(listing)


def main() -> None:
    """Run the command line."""
    app(prog_name="xai")
