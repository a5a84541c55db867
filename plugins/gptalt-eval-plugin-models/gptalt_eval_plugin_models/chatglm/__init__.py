"""ChatGLM-6B, ChatGLM2-6B, ChatGLM3-6B, and models of their kind."""
