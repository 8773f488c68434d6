"""Networks that know no task: front-ends, encoders, pooling and losses, joined by `nn.network`."""
