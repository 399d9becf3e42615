set -eu
. lib/settings.sh
echo "changed by a training" >> notes.txt
mkdir -p model/deep
echo "arguments $*" > model/deep/arguments.txt
echo "training on $1"
case $(setting behaviour) in
    fail)
        mkdir -p logs
        echo "epoch 1: loss 12.5" > logs/training.log
        echo "the loss is not a number" >&2
        exit 3
        ;;
    gate)
        echo '{"progress": 0.25, "message": "at the gate"}' >> "$MODELWIRE_PROGRESS_FILE"
        read -r _ < "$(setting gate)"
        ;;
    told)
        printenv MODELWIRE_JOB_ID MODELWIRE_DEADLINE MODELWIRE_RUN_INFO > model/told.txt
        ;;
esac
echo 42 > model/answer.txt
