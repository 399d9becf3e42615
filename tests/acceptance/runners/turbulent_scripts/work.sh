# sh work.sh FRAME RESULT: what turbulent.py does, in a shell.
set -eu
{ read -r _; IFS=, read -r number fate seconds stray; } < "$1"
if [ "$stray" = true ]; then
    setsid sleep 600 &
fi
for step in 0 1 2 3 4; do
    echo "job $number, step $step"
    echo "{\"progress\": 0.$((2 * step))}" >> "$MODELWIRE_PROGRESS_FILE"
done
sleep "$seconds"
if [ "$fate" = fail ]; then
    echo "job $number fails on purpose" >&2
    exit 3
fi
cp "$1" "$2"
