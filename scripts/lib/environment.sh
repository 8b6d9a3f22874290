# Sourced by the scripts beside this folder; expects $root, the top folder of the project.
# Finds a Python that fits and has environment.py make .venv with it.
# shellcheck shell=sh
: "${root:?}"

say() { printf 'wsserver: %s\n' "$*" >&2; }

# Print the first Python that is new enough and can make a virtual environment. $PYTHON goes first.
find_python() {
    almost=''
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 python; do
        # A name may exist and not work (pyenv's stand-ins), so each is tried, not only found.
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
        almost=$candidate
    done
    if [ -n "$almost" ]; then
        say "$almost has no venv module; on Debian or Ubuntu: apt install python3-venv"
    else
        say 'Python 3.11 or later is needed, and none was found (set PYTHON to its path)'
    fi
    return 1
}

# Make or renew .venv for a profile: "run" or "dev".
prepare_environment() {
    python=$(find_python) || exit 1
    "$python" "$root/scripts/lib/environment.py" "$1" || exit 1
}
