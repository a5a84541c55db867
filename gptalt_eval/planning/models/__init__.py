"""Named models: what their YAMLs say, their chat templates, and which of them a folder contains."""
