from types import SimpleNamespace


def NodeAffinitySchedulingStrategy(node_id, soft):  # noqa: N802
    return SimpleNamespace(node_id=node_id, soft=soft)
