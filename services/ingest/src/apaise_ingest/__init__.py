"""The door of the mesh: accepts messages durably and drives each through classify and route."""
