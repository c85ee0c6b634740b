"""Whatever proposes changes. Researchers know neither git nor the screen: a brief in, a proposal out."""
