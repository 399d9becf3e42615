set -eu
. lib/settings.sh
echo "predicting with $*"
echo "rows of the past: $(tail -n +2 "$1" | wc -l)"
answer=$(cat model/answer.txt)
case $(setting predicting) in
    silent) exit 0 ;;
    horizon) answer=$(setting prediction_periods) ;;
    fail)
        echo "no answer today" >&2
        exit 4
        ;;
esac
awk -v answer="$answer" 'NR == 1 { print $0 ",sample_0"; next } { print $0 "," answer }' "$2" > "$3"
