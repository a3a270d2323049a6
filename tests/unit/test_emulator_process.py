"""What is put in MiniStack's place, each in the emulator's own environment."""

import json
import os
import subprocess
from pathlib import Path

from tools.template import ROOT


def run(program: str, directory: Path) -> str:
    """Run Python in the emulator's environment, with what is needed to import the emulator's process."""
    variables = {"AUTHORIZATION_LOG": "log", "KEYS_FILE": "keys", "AWS_REGION": "us-east-1"}
    variables["CLUSTER_ARN"] = "arn:aws:dsql:us-east-1:000000000000:cluster/1"
    done = subprocess.run(
        [ROOT / ".local" / "emulator" / "bin" / "python", "-c", program, str(ROOT)],
        capture_output=True,
        text=True,
        cwd=directory,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(directory), **variables},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_LOGGING = """
import io, sys, time, zipfile
sys.path.insert(0, sys.argv[1])
from local import emulator_process
from local.emulator_process import lambda_runtime
emulator_process.correct()
code = io.BytesIO()
with zipfile.ZipFile(code, "w") as archive:
    archive.writestr("f.py", '''
import os
def handler(event, context):
    for number in range(event["lines"]):
        print("line", number)
    print("half", end="")
    if event.get("end"):
        os._exit(1)
''')
arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
configuration = {"Runtime": "python3.13", "Handler": "f.handler", "FunctionArn": arn, "Role": "role/r"}
worker = lambda_runtime.Worker("f", configuration, code.getvalue())
# As on a busy machine, what is written comes late.
was = emulator_process.queue.Queue.put
emulator_process.queue.Queue.put = lambda self, line: (time.sleep(0.1), was(self, line))
for event in ({"lines": 2}, {"lines": 0}, {"lines": 1, "end": True}, {"lines": 1}):
    print(repr(worker.invoke(event, "1")["log"]))
worker.kill()
"""


def test_what_an_invocation_writes_is_its_own_however_late_it_comes(tmp_path: Path) -> None:
    assert run(_LOGGING, tmp_path).splitlines() == [
        repr("line 0\nline 1\nhalf"),
        repr("half"),
        repr("line 0"),  # what a process has in its buffer when it is killed is lost
        repr("line 0\nhalf"),
    ]


_MODELS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from local.emulator_process import responses, service_model
whole = responses._service_model
told = {}
for service in ("events", "lambda", "monitoring", "s3", "sqs", "ses", "cloudformation", "ec2", "of-nobody"):
    models = service_model(service), whole(service)
    told[service] = [model and dict(model.metadata) for model in models]
    told[service].append(models[0] is models[1])
print(json.dumps(told))
"""


def test_a_services_metadata_is_read_without_the_rest_of_its_model(tmp_path: Path) -> None:
    told = json.loads(run(_MODELS, tmp_path))

    assert [service for service, (ours, whole, _) in told.items() if ours != whole] == []
    assert [service for service, (*_, is_whole) in told.items() if is_whole] == ["of-nobody"]
