#!/usr/bin/env bash
# What the GitHub Action runs: scan, keep the exit code for the last step, so that reports are uploaded before it fails.
#
# MODELS and ARGUMENTS hold one word a line; they come as variables, so that no text of a workflow becomes a command.
set -uo pipefail

: "${MODELS:?name at least one model}" "${REPORTS:?name a folder for the reports}"
: "${GITHUB_OUTPUT:?}" "${GITHUB_STEP_SUMMARY:?}"

lines() { # one word a line: spaces around it and empty lines do not count
  sed -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//' -e '/^$/d' <<<"$1"
}
mapfile -t models < <(lines "$MODELS")
mapfile -t arguments < <(lines "${ARGUMENTS:-}")
[ -z "${SAMPLES:-}" ] || arguments+=(--samples "$SAMPLES")

mkdir -p "$REPORTS" || exit 2
rm -f -- "$REPORTS"/*.sarif "$REPORTS/summary.md" # an earlier run's would be uploaded as this one's
bdscan scan "${models[@]}" "${arguments[@]}" --summary "$REPORTS/summary.md" \
  -o "$REPORTS/{path}.json" -o "$REPORTS/{path}.html" -o "$REPORTS/{path}.sarif"
code=$?

sarif=false
compgen -G "$REPORTS/*.sarif" >/dev/null && sarif=true
{
  echo "exit-code=$code"
  echo "reports=$REPORTS"
  echo "sarif=$sarif"
} >>"$GITHUB_OUTPUT"
if [ -f "$REPORTS/summary.md" ]; then
  cat "$REPORTS/summary.md" >>"$GITHUB_STEP_SUMMARY"
else
  echo "bdscan ended with exit code $code before any model was scanned; its log says why." >>"$GITHUB_STEP_SUMMARY"
fi
exit 0
