"""Runs the conformance suite: `run.py PROGRAM ENGINE... [--only TEXT]`. One line per case; status 1 when one fails."""

import importlib
import pathlib
import sys
import time
import warnings

warnings.filterwarnings("ignore")
sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import gateway  # noqa: E402


def main(arguments):
    only = ""
    if "--only" in arguments:
        at = arguments.index("--only")
        only = arguments[at + 1]
        del arguments[at : at + 2]
    program, engines = arguments[0], arguments[1:] or ["soft"]
    for path in sorted(HERE.glob("case_*.py")):
        importlib.import_module(path.stem)
    # The cases of one configuration follow each other, since a card needs a moment to start.
    order = {}
    for one in gateway.CASES:
        order.setdefault(one.config, len(order))
    cases = sorted((c for c in gateway.CASES if only in f"{c.__module__}.{c.__name__}"), key=lambda c: order[c.config])
    failed = 0
    for engine in engines:
        start = time.monotonic()
        nic = gateway.Gateway(program, engine, HERE.parent.parent)
        passed = 0
        for one in cases:
            name = f"{one.__module__.removeprefix('case_')}.{one.__name__}"
            try:
                begin = time.monotonic()
                nic.prepare(one.config)
                one(nic)
                error = None
            except Exception as e:  # a case that breaks in any way has failed
                error = f"{type(e).__name__}: {e}".splitlines()[0]
            if (took := time.monotonic() - begin) > 3:
                print(f"slow {engine} {name}: {took:.1f} s")
            if nic.process.poll() is not None:
                nic = gateway.Gateway(program, engine, HERE.parent.parent)
            if error is None and one.expected_failure is None:
                print(f"ok {engine} {name}")
                passed += 1
            elif error is not None and one.expected_failure is not None:
                print(f"ok {engine} {name} # expected failure: {one.expected_failure}")
                passed += 1
            elif error is None:
                failed += 1
                print(f"FAILED {engine} {name}: passes, but is marked as expected failure: {one.expected_failure}")
            else:
                failed += 1
                print(f"FAILED {engine} {name}: {error}\n    {' '.join((one.__doc__ or '').split())}")
        nic.close()
        print(f"{engine}: {passed} of {len(cases)} cases in {time.monotonic() - start:.1f} s")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
