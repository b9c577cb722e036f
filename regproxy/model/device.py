"""The choice of the device on which a model runs."""

import torch

from regproxy.errors import ConfigError


def default_device() -> torch.device:
    """Return this process's current GPU if torch can use CUDA, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def named_device(name: str | torch.device) -> torch.device:
    """Return the device called `name`, such as "cpu" or "cuda:1".

    Raises:
        ConfigError: torch does not know the name or cannot use the device on this machine.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        usable = "cpu, cuda or cuda:0" if torch.cuda.is_available() else "cpu"
        raise ConfigError(f"device {name} cannot be used: {reason}. Use {usable}.") from None
    return device
