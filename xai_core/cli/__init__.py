"""The command line: `xai demo`, `xai explain`, `xai benchmark`, `xai report`, `xai app`, `xai list`, `xai plugin`."""

from xai_core.cli.benchmark import benchmark_command
from xai_core.cli.commands import command_line
from xai_core.cli.demo import demo
from xai_core.cli.explain import explain
from xai_core.cli.listing import listing
from xai_core.cli.plugin import plugin
from xai_core.cli.report import report
from xai_core.cli.web_app import app_command

PURPOSE = """Compute and evaluate saliency maps of PyTorch vision models.

A SPEC (specification string) names a model, method, metric or dataset, and sets its options. The form is
NAME:OPTION=VALUE,... or, with a source of models or datasets, SOURCE:NAME,OPTION=VALUE,... Examples: rise,
deletion:steps=28, timm:resnet18,num_classes=10. `xai list` shows the installed names.
"""

app = command_line("xai-core", PURPOSE)
app.command()(demo)
app.command()(explain)
app.command("benchmark")(benchmark_command)
app.command()(report)
app.command("app")(app_command)
app.command("list")(listing)
app.add_typer(plugin, name="plugin")


def main() -> None:
    """Run the command line."""
    app(prog_name="xai")
