import sys

from skillhost import SkillError, Skillhost

if len(sys.argv) < 2:
    sys.exit("usage: words.py BUNDLE [PROGRAM]; `host bundle new demo` makes a bundle")
try:
    with Skillhost(*sys.argv[2:3], bundle=sys.argv[1]) as host:
        print(host.describe()["tools"])
        print(host.invoke("hello", {"name": "Python"}, kind="flow"))
        print(host.invoke("replace", {"text": "one, two"}))
except (SkillError, OSError) as error:
    sys.exit(str(error))
