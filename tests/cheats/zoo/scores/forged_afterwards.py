"""Is scored as it should be, and then prints something better."""

import toy

toy.evaluate_bpb(toy.train())
toy.finish(0.1)
