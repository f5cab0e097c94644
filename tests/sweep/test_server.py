import subprocess
import sys

PROGRAM = """
import sys
import disvae.sweep.server

known = {name.partition(".")[0] for name in sys.modules}
import disvae

disvae.train("dataset=clusters", "final=[mig_analytic]", "final_figures=[reconstruction]", steps=1, brief=True)
print("new:", *{name.partition(".")[0] for name in sys.modules} - known)
"""
COMPOSING = {"antlr4", "hydra_plugins"}  # which the launcher does


def test_a_job_imports_no_package_that_its_server_has_not_imported(tmp_path):
    made = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(made.stdout.rpartition("new:")[2].split()) <= COMPOSING
