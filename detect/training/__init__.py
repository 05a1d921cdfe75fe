"""Train the network on simulated frames."""
