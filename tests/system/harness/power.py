"""Power that fails: a node's files lie on a disk that keeps, at a cut, what was synced
and a random part of what was not (tests/power/power.c)."""
import os

LIBRARY = os.environ.get("YZMA_POWER_LIBRARY", "")


class Power:
    """The supply of one node, which lies in a folder of its own."""

    def __init__(self, folder, name="node"):
        self.folder = folder
        self.stash = folder + "-stash"
        self.report_path = folder + "-cut"
        self.name = name
        os.makedirs(folder, exist_ok=True)
        os.makedirs(self.stash, exist_ok=True)

    def prefix(self, cut=0, seed=1, keep=None, lie=None, lie_at=0, fail=0):
        """What a command is put behind, for one life that ends in the midst of its cut-th
        change or sync; keep: percent of what is unsynced; lie: files that sync no more, from the lie_at-th;
        fail: the change or sync that fails, once."""
        if os.path.exists(self.report_path):
            os.remove(self.report_path)
        settings = {"LD_PRELOAD": LIBRARY, "YZMA_POWER_DIR": self.folder, "YZMA_POWER_STASH": self.stash,
                    "YZMA_POWER_REPORT": self.report_path, "YZMA_POWER_CUT": cut, "YZMA_POWER_SEED": seed}
        if fail:
            settings["YZMA_POWER_FAIL"] = fail
        if keep is not None:
            settings["YZMA_POWER_KEEP"] = keep
        if lie is not None:
            settings.update({"YZMA_POWER_LIE": lie, "YZMA_POWER_LIE_AT": lie_at})
        return ["env", *(f"{name}={value}" for name, value in settings.items())]

    def report(self):
        """What the cut did, by name, or None before all of it is done."""
        try:
            with open(self.report_path) as file:
                return dict(word.split("=", 1) for word in file.read().split())
        except FileNotFoundError:
            return None
