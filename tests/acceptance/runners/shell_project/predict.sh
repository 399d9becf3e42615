set -eu
. lib/settings.sh
answer=$(cat model/answer.txt)
case $(setting predicting) in
    silent) exit 0 ;;
    fail)
        echo "no answer today" >&2
        exit 4
        ;;
esac
awk -v answer="$answer" 'NR == 1 { print $0 ",sample_0"; next } { print $0 "," answer }' "$2" > "$3"
