set -eu
# What is new: a kilobyte that no other training has.
{
    echo "$MODELWIRE_JOB_ID"
    cat assets/first.bin
} | head -c 1024 > model.bin
if grep -q "behaviour: spoil" config.yml; then
    chmod u+w assets/first.bin
    echo "spoilt" >> assets/first.bin
fi
