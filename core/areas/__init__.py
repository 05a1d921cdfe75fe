"""Areas of a frame in which neither truth nor detections count."""
