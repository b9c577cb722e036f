"""A backbone whose weights do not change in the training."""

from torch import nn

from regproxy.model.backbone import VisionTransformer


def freeze_backbone(model: nn.Module) -> None:
    """Let a network's backbone compute no gradients; `enter_training_mode` keeps it in eval mode."""
    model.backbone.requires_grad_(False)


def enter_training_mode(model: nn.Module) -> None:
    """Put a network, also a wrapped one, in training mode, but a frozen backbone in eval mode."""
    model.train()
    for module in model.modules():
        if isinstance(module, VisionTransformer):
            module.train(any(parameter.requires_grad for parameter in module.parameters()))
