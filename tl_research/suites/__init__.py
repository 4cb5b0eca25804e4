"""Many runs: suites, their runner and its workers."""
