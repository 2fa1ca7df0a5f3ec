"""Hold the recipes of two small backbones that draw emoji of 64 pixels: a flow-matching transformer and a U-Net."""
