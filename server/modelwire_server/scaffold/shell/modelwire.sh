# Tells modelwire how a script gets on. Needs nothing but sh, sed and tr; put it beside your scripts.
#
#   . ./modelwire.sh
#   modelwire_progress 0.5 "half way"
#   modelwire_metric rmse 12.3 4
#   modelwire_log "few rows" WARNING
#
# Where no modelwire listens the functions do nothing: a script works by hand as well.

# How far the work is, 0 to 1, and a message.
modelwire_progress() { modelwire_report "{\"progress\":$1,\"message\":$(modelwire_text "${2-}")}"; }

# A name, a value and perhaps a step.
modelwire_metric() { modelwire_report "{\"metric\":$(modelwire_text "$1"),\"value\":$2${3:+,\"step\":$3}}"; }

# A text and perhaps a level: DEBUG, INFO, WARNING or ERROR.
modelwire_log() { modelwire_report "{\"log\":$(modelwire_text "$1"),\"level\":\"${2:-INFO}\"}"; }

# Appends a JSON object as a line to the file that modelwire reads while the script runs.
modelwire_report() { [ -z "${MODELWIRE_PROGRESS_FILE-}" ] || printf '%s\n' "$1" >> "$MODELWIRE_PROGRESS_FILE"; }

# A text as JSON.
modelwire_text() { printf '"%s"' "$(printf '%s' "$1" | tr '\000-\037' ' ' | sed 's/["\\]/\\&/g')"; }
