# Sourced by scripts/test: the programs beside Python that some tests drive.
# shellcheck shell=sh
: "${root:?}"

# A program, the Debian package that has it, and what can't be tested without it.
needed_programs() {
    cat <<'LIST'
redis-server redis-server tests against Redis
chromium chromium tests of the chat page in a browser
tmux tmux tests of the terminal client in tmux
shellcheck shellcheck the check of the shell scripts
LIST
}

# Whether a program is there; chromium has several names.
has_program() {
    case $1 in
        chromium)
            for name in chromium chromium-browser google-chrome; do
                command -v "$name" >/dev/null 2>&1 && return 0
            done
            return 1
            ;;
        *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# Packages of the programs that are missing.
missing_packages() {
    needed_programs | while read -r program package _; do
        has_program "$program" || printf '%s\n' "$package"
    done
}

# Install what is missing where apt and the rights are there. Never fails: tests skip instead.
install_programs() {
    packages=$(missing_packages)
    [ -n "$packages" ] && [ -z "${SKIP_APT-}" ] && command -v apt-get >/dev/null 2>&1 || return 0
    if [ "$(id -u)" = 0 ]; then
        as_root=''
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    else
        return 0
    fi
    say "installing with apt: $(echo "$packages" | tr '\n' ' ')"
    export DEBIAN_FRONTEND=noninteractive
    log=$root/.venv/apt.log
    # One by one: a package that this release lacks must not keep out the others.
    # shellcheck disable=SC2086 # as_root is empty or two words
    {
        timeout 300 $as_root apt-get -q update
        for package in $packages; do
            timeout 600 $as_root apt-get -q -y --no-install-recommends \
                -o DPkg::Lock::Timeout=120 install "$package"
        done
    } >"$log" 2>&1 </dev/null || say "apt could not do all of it; see $log"
}

# A line for each thing that was not tested, with the reason.
print_skipped() {
    needed_programs | while read -r program package purpose; do
        has_program "$program" || printf '  %s: no %s (package %s)\n' "$purpose" "$program" "$package"
    done
    if ! nvidia-smi -L >/dev/null 2>&1; then
        printf '  tests of the GPU engines: no CUDA device\n'
    fi
    for library in exllamav2 exllamav3; do
        "$root/.venv/bin/python" -c "import importlib.util as u; raise SystemExit(not u.find_spec('$library'))" ||
            printf '  what of %s needs no GPU: %s is not installed\n' "$library" "$library"
    done
}
