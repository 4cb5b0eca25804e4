# Sourced by the other scripts: makes .venv beside the package and installs into it, once for every state of
# the requirements. Nothing here depends on the current directory.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
stamp=$venv/.installed
wanted=$(cat "$root/setup.py" "$root/setup.cfg" "$root/pyproject.toml" "$root/constraints.txt" | cksum)

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.12 python3.11 python3.13 python3.14 python3; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Python 3.11 to 3.14 is needed; name one with PYTHON=/path/to/python3.12" >&2
    exit 1
}

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    echo "installing into $venv (about three minutes the first time)" >&2
    [ -x "$venv/bin/python" ] || "$(find_python)" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$root/constraints.txt" --editable "$root[dev]"
    echo "$wanted" >"$stamp"
fi
export PATH="$venv/bin:$PATH"
cd "$root"
