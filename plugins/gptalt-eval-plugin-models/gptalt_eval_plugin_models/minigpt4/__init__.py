"""MiniGPT-4 and VPGTrans's VL-Vicuna: BLIP-2 with Vicuna."""
