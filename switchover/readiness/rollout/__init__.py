"""A rolling update of a Swarm service, simulated before it is done.

``settings`` and ``timeline`` are the model; ``swarm`` makes the timeline, ``balancer`` says which requests fail
meanwhile, ``advice`` finds the settings that lose nothing; ``study`` is all of it for one service, ``chart`` draws it,
``read`` takes the settings from a Compose file.
"""
