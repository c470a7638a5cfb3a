#!/usr/bin/env python3
"""Runs the end-to-end tests: run.py --build DIR [PATTERN]. The last line is `N passed, N failed`.

PATTERN is a part of a test's full name (test_files.Put.test_an_empty_file). FTPD_TEST_SLOW=N makes
every patience N times as long: for sanitizers and loaded machines.
"""

import argparse
import faulthandler
import os
import signal
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


class TestTimeout(AssertionError):
    """A test took longer than the watchdog allows."""


class Result(unittest.TestResult):
    """Counts, prints failures in full as they come, and keeps a watchdog over each test."""

    def __init__(self, harness, verbose):
        super().__init__()
        self.harness = harness
        self.verbose = verbose
        self.passed = 0
        self.failed = 0
        self.limit = 60 * harness.SLOW
        self.started = 0.0

    def watch(self, test):
        limit = self.limit * getattr(test, "patience", 1)
        signal.setitimer(signal.ITIMER_REAL, limit)
        # If the test swallows the timeout, the whole run ends: nothing may hang for ever.
        faulthandler.dump_traceback_later(2 * limit, exit=True)

    def unwatch(self):
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()

    def startTest(self, test):
        super().startTest(test)
        self.harness.forget_stopped_daemons()
        self.started = time.monotonic()
        self.watch(test)

    def timed_out(self):
        """Ends the present test at once, a loop of subtests included."""
        self.failfast = True

    def stopTest(self, test):
        self.unwatch()
        self.failfast = self.shouldStop = False
        super().stopTest(test)
        if self.verbose:
            print(f"{time.monotonic() - self.started:7.2f} s  {test.id()}", flush=True)

    def report(self, test, err):
        self.failed += 1
        print(f"\nFAILED {test.id()}{self.subtest_text(test)}")
        print(self._exc_info_to_string(err, test))
        print(self.harness.recent_logs(), flush=True)

    @staticmethod
    def subtest_text(test):
        describe = getattr(test, "_subDescription", None)
        return " " + describe() if describe else ""

    def addSuccess(self, test):
        self.passed += 1

    def addError(self, test, err):
        super().addError(test, err)
        self.report(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.report(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.report(subtest, err)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self.failed += 1
        print(f"\nFAILED {test.id()}: passed, though it was expected to fail")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"skipped {test.id()}: {reason}", flush=True)


def on_terminate(signum, stack):
    sys.exit(1)


def select(suite, pattern):
    """The tests of `suite`, flat, whose full name holds `pattern`."""
    chosen = unittest.TestSuite()
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            chosen.addTests(select(item, pattern))
        elif pattern in item.id():
            chosen.addTest(item)
    return chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("-v", "--verbose", action="store_true", help="name every test, with its time")
    parser.add_argument("pattern", nargs="?", default="")
    arguments = parser.parse_args()

    os.environ["FTPD_BUILD"] = os.path.abspath(arguments.build)
    sys.dont_write_bytecode = True
    sys.path.insert(0, HERE)
    import ftpd_harness

    signal.signal(signal.SIGTERM, on_terminate)
    ftpd_harness.raise_file_limit()
    ftpd_harness.adopt_orphans()
    suite = unittest.defaultTestLoader.discover(HERE, pattern="test_*.py")
    result = Result(ftpd_harness, arguments.verbose)

    def on_alarm(signum, stack):
        faulthandler.dump_traceback(all_threads=True)
        result.timed_out()
        raise TestTimeout("the test took too long")

    signal.signal(signal.SIGALRM, on_alarm)
    try:
        select(suite, arguments.pattern).run(result)
    finally:
        result.unwatch()
        ftpd_harness.kill_all_daemons()
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{result.passed} passed, {result.failed} failed{skipped}")
    return 1 if result.failed or not (result.passed or result.skipped) else 0


if __name__ == "__main__":
    sys.exit(main())
