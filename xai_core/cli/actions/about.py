"""Everything that results depend on, for the end of a page."""

import platform
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version

import torch

from xai_core.cli.console import counted
from xai_core.plugins.registry import registry


def about(device: torch.device, command: str) -> Mapping[str, str]:
    """Return the versions, the device, the command and the date, by name."""
    distributions = sorted({(plugin.distribution, plugin.version) for plugin in registry().plugins})
    on_gpu = device.type == "cuda"
    hardware = torch.cuda.get_device_name(device) if on_gpu else counted(torch.get_num_threads(), "thread")
    return {
        "Versions": ", ".join(
            f"{name} {number}" for name, number in [("xai-core", version("xai-core")), *distributions]
        ),
        "Torch": f"{torch.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "Device": f"{device} ({hardware})",
        "Command": command,
        "Date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }
