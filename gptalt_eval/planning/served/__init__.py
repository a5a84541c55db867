"""Models behind a server that speaks the OpenAI protocol: what is asked before a run, and how."""
