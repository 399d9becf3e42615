set -eu
. lib/settings.sh

tell() { printf '%s\n' "$1" >> "$MODELWIRE_PROGRESS_FILE"; }

# Runs away from the script's session and tells its process id, as a metric, when it is ready to stay.
run_away() {
    setsid sh -c 'trap "" TERM HUP; echo "{\"metric\": \"pid\", \"value\": $$}" >> "$MODELWIRE_PROGRESS_FILE"; exec sleep 1000' &
}

echo "changed by a training" >> notes.txt
mkdir -p model/deep
echo "arguments $*" > model/deep/arguments.txt
pwd > model/deep/folder.txt
echo "training on $1"
case $(setting behaviour) in
    fail)
        mkdir -p logs
        echo "epoch 1: loss 12.5" > logs/training.log
        echo "the loss is not a number" >&2
        exit 3
        ;;
    gate)
        tell '{"progress": 0.25, "message": "at the gate"}'
        read -r _ < "$(setting gate)"
        ;;
    run-away-and-stay)
        run_away
        wait
        ;;
    run-away)
        mkfifo ready
        setsid sh -c 'trap "" HUP; echo $$ > ready; exec sleep 1000' > /dev/null 2>&1 &
        read -r pid < ready
        tell "{\"metric\": \"pid\", \"value\": $pid}"
        rm ready
        ;;
    told)
        printenv MODELWIRE_JOB_ID MODELWIRE_DEADLINE MODELWIRE_RUN_INFO > model/told.txt
        ;;
    environment)
        env > model/environment.txt
        ;;
    hoard)
        head -c 5000000 /dev/zero > model/hoard.bin
        ;;
    hoard-and-stay)
        head -c 5000000 /dev/zero > model/hoard.bin
        sleep 1000
        ;;
    chatter)
        seq 1 100000
        ;;
    devour)
        dd if=/dev/zero of=/dev/null bs=700M count=1
        ;;
    nonsense)
        tell 'half of {"a line'
        tell '["a", "list"]'
        tell '{"progress": "far"}'
        tell '{"log": "still here", "level": "WARNING"}'
        tell '{"metric": "rmse", "value": 1.5, "step": 2}'
        ;;
esac
echo 42 > model/answer.txt
