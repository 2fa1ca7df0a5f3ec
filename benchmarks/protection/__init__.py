"""How a backbone is best protected: every means, weight and ground, side by side with none and with BAT's."""
