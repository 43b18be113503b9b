"""Plain ``nn.Module`` networks, 2D and 3D by ``spatial_dims``. They know nothing of cohorts or losses."""
