import sys

from skillhost import SkillError, Skillhost

with Skillhost(program=sys.argv[1]) as host:
    print(len(host.describe()["tools"]) > 10)
    print(host.invoke("text.split", {"text": "one, two", "pattern": ", "}))
    try:
        host.invoke("text.split", {"text": "one"})
    except SkillError as error:
        print(error.code)
