"""From a frame to sources: proposals, RoI features, soft-NMS, centroids and streak fits."""
