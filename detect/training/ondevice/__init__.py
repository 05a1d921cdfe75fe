"""Training frames made where the network is: chance on the host, pixels on the device.

The same scenes as `simulation.simulate` makes, a batch at a time. What a scene holds is drawn by
`simulation` (small arrays, in other processes); profiles, light, noise, background, input channels
and labels are tensors from the first to the last, and nothing comes back but a few numbers of
each profile. Nothing here depends on values of a tensor for its shapes, and what adds up adds up in
integers, so that a batch is the same to the bit whatever the order in which a device adds.
"""
