"""Calls skills from Python: one `host exec --stream` for many calls. The standard library is enough.

    with Skillhost(policy="policies/default.toml") as host:
        print(host.invoke("text.split", {"text": "a,b", "pattern": ","}))
    with Skillhost(bundle="demo") as host:
        print(host.invoke("hello", {"name": "you"}, kind="flow"))

A failed call raises SkillError with the code, the hint and the details of the answer. One object is for one thread at a time.
"""

import json
import subprocess


class SkillError(Exception):
    def __init__(self, answer):
        self.answer = answer
        self.code, self.hint = answer["error"]["code"], answer["error"]["hint"]
        super().__init__(f"{self.code}: {answer['error']['message']} (hint: {self.hint})")


class Skillhost:
    def __init__(self, program="host", **options):
        words = [word for key, value in options.items() for word in ("--" + key.replace("_", "-"), str(value))]
        command = [program, "exec", "--stream", *words]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def ask(self, **request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended, and its last line says why.
        line = self.process.stdout.readline()
        if not line:
            raise ConnectionError(f"the host ended with exit code {self.process.wait()}")
        return json.loads(line)

    def result(self, **request):
        answer = self.ask(**request)
        if not answer["ok"]:
            raise SkillError(answer)
        return answer["result"]

    def describe(self):
        return self.result(action="describe")

    def invoke(self, handler, event=None, kind="tool", **members):
        return self.result(action="invoke", kind=kind, handler=handler, event=event or {}, **members)

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # It ended first.
        self.process.stdout.close()
        return self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
