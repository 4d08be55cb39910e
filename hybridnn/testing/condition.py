"""Repeating a test method that draws random numbers."""
import functools
import unittest

__all__ = ["repeat", "repeat_with_success_at_least", "retry"]


def repeat_with_success_at_least(times, min_success):
    """Method decorator: the test passes if ``min_success`` of at most ``times`` runs do, each on an instance of its own."""
    if not 0 <= min_success <= times:
        raise AssertionError(f"min_success lies between 0 and {times}, not {min_success}")

    def decorate(method):
        @functools.wraps(method)
        def run(self, *args, **kwargs):
            passed, failures = 0, []
            while passed < min_success:
                result = _run_once(self, method, args, kwargs)
                if result.skipped:
                    self.skipTest(result.skipped[0][1])
                if result.wasSuccessful():
                    passed += 1
                else:
                    failures.append((result.failures + result.errors)[0][1])
                if len(failures) > times - min_success:
                    self.fail(f"{len(failures)} runs failed, {passed} passed; {min_success} of {times} have to\nfirst error message: {failures[0]}")
        return run
    return decorate


def _run_once(test, method, args, kwargs):
    instance = type(test)(test._testMethodName)
    result = unittest.TestResult()

    def call():
        try:
            method(instance, *args, **kwargs)
        except BaseException as error:
            if type(error).__name__ == "Skipped":       # pytest's, which derives from BaseException
                instance.skipTest(str(error))
            raise
    unittest.FunctionTestCase(call, setUp=instance.setUp, tearDown=instance.tearDown).run(result)
    return result


def repeat(times):
    """All of ``times`` runs have to pass."""
    return repeat_with_success_at_least(times, times)


def retry(times):
    """One of ``times`` runs has to pass."""
    return repeat_with_success_at_least(times, 1)
