"""The neural detector: network, training on simulated frames, inference, weights."""

from skyduel.detect.detector import NeuralDetector, NeuralSettings, neural

__all__ = ["NeuralDetector", "NeuralSettings", "neural"]
