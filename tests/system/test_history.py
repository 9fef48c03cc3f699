"""The history checker sees what it is there to see: each of these answers breaks a
promise, and is told."""
import unittest

from harness.history import History, Session


class Told(unittest.TestCase):
    def setUp(self):
        self.history = History()

    def put(self, node, session, value, answered=True):
        self.history.before_write("k", session, value)
        if answered:
            self.history.after_write(node, "k", session, value)
            session.token = "token"

    def read(self, node, session, *values):
        before = self.history.before_read(node, "k")
        versions = [(value, f"{len(values) - i:016x}") for i, value in enumerate(values)]
        self.history.after_read(node, "k", session, before, versions)
        session.token = "token"

    def assert_told(self, word, held=None):
        wrong = self.history.wrong if held is None else self.history.check_end({"k": frozenset(held)})
        self.assertEqual(len(wrong), 1, wrong)
        self.assertIn(word, wrong[0])

    def assert_well(self, *held):
        self.assertEqual(self.history.check_end({"k": frozenset(held)} if held else {}), [])

    def test_lost(self):
        self.put("a", Session(), "1")
        self.assert_well("1")
        self.assert_told("is lost", held=[])

    def test_concurrent_is_kept(self):
        """Neither writer saw the other: both are there, whatever the stamps."""
        self.put("a", Session(), "1")
        self.put("b", Session(), "2")
        self.assert_well("1", "2")
        self.assert_told("is lost", held=["2"])

    def test_revived(self):
        session = Session()
        self.put("a", session, "1")
        self.put("a", session, None)
        self.assert_well()
        self.assert_told("is back", held=["1"])

    def test_earlier_beats_later(self):
        session = Session()
        self.put("a", session, "1")
        self.put("b", session, "2")
        self.assert_well("2")
        self.assertEqual(len(self.history.check_end({"k": frozenset({"1"})})), 2)

    def test_out_of_nowhere(self):
        self.put("a", Session(), "1")
        self.assert_told("never written", held=["1", "x"])

    def test_no_answer_binds_nobody(self):
        """Perhaps it happened, and perhaps it replaced what it saw."""
        session = Session()
        self.put("a", session, "1")
        self.put("a", session, "2", answered=False)
        for held in (["1"], ["2"], ["1", "2"], []):
            self.assert_well(*held)

    def test_returns_on_a_node(self):
        """What a node's acknowledged write has removed is shown there again; elsewhere it
        may be seen still."""
        session = Session()
        self.put("a", session, "1")
        self.put("a", session, "2")
        self.read("b", Session(), "1")
        self.assertEqual(self.history.wrong, [])
        self.read("a", Session(), "1")
        self.assert_told("had been removed there")

    def test_returns_after_it_was_seen_gone(self):
        session = Session()
        self.put("a", session, "1")
        self.read("b", Session(), "1")
        self.put("a", session, None)
        self.read("b", Session())
        self.assertEqual(self.history.wrong, [])
        self.read("b", Session(), "1")
        self.assert_told("had been removed there")

    def test_backwards(self):
        """Behind a token: what it replaced, or not what it stands for."""
        session = Session()
        self.put("a", session, "1")
        self.put("a", session, "2")
        self.read("b", session, "2", "1")
        self.assert_told("is read again")

    def test_behind(self):
        session = Session()
        self.put("a", session, "1")
        self.read("b", session)
        self.assert_told("is missing behind a token")

    def test_order_of_stamps(self):
        session = Session()
        self.put("a", session, "1")
        before = self.history.before_read("a", "k")
        self.history.key("k").written.add("2")
        self.history.after_read("a", "k", session, before, [("1", "01"), ("2", "02")])
        self.assert_told("order of stamps")


if __name__ == "__main__":
    unittest.main()
