# sh train.sh data.csv: saves the mean of disease_cases at each location as means.csv. (No cell of the data may hold a comma.)
set -eu
. ./modelwire.sh

modelwire_progress 0 "reading $1"
awk -F, '
    { gsub(/"/, "") }
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    $column["disease_cases"] != "" { place = $column["location"]; sum[place] += $column["disease_cases"]; rows[place]++ }
    END { for (place in rows) print place "," sum[place] / rows[place] }
' "$1" | sort > means.csv

modelwire_metric locations "$(wc -l < means.csv | tr -d ' ')"
modelwire_progress 1
