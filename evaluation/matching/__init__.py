"""Match detections to truth: candidate pairs, exact assignment, matching on the sky."""
