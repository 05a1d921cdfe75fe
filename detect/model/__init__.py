"""The network, its input channels, its fused form and its weights."""
