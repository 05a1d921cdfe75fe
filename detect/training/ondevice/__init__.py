"""Make training frames on the device of the network, in batches.

The scenes are those of `skyduel.simulation.simulate`. The sources of a scene are drawn by
`skyduel.simulation` on the host (small arrays, in other processes). Profiles, light, noise,
background, input channels and labels are tensors on the device; only a few numbers of each profile
are copied back. No shape depends on the values of a tensor, and sums are of integers, so that a
batch is the same to the bit for every order in which a device adds.
"""
