"""mPLUG-Owl: CLIP, an abstractor, LLaMA."""
