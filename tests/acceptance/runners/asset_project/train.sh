set -eu
# What is new: a kilobyte that no other training has.
{
    echo "$MODELWIRE_JOB_ID"
    cat assets/first.bin
} | head -c 1024 > model.bin
