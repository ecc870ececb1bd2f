# shellcheck shell=bash
# Every setting of the scripts, in one place. Edit the defaults here, or set a variable for one call:
#   HSD_NAME=hsd-32b HSD_ACCELERATOR=v5p-128 tpu_scripts/create.sh
# An empty value means "not given"; the scripts say when they need one.

# Where: the project that pays, and a zone that has the accelerator.
: "${HSD_PROJECT=}"
: "${HSD_ZONE=}"
# What: one name for the queued resource, its nodes and the run; the slice; how many slices.
# The number in v5p-N counts cores (v5p-128 = 64 chips); in v5e-N and v6e-N it counts chips.
: "${HSD_NAME=hsd}"
: "${HSD_ACCELERATOR=v5p-128}"
: "${HSD_SLICES=1}"
# How it is paid: spot (cheap, can be taken away), reserved, or on-demand.
: "${HSD_PROVISIONING=spot}"
# Give up waiting for capacity after this long; empty: wait for ever.
: "${HSD_VALID_UNTIL=6h}"
# The VM image; empty: the usual one for the accelerator.
: "${HSD_RUNTIME=}"
# Empty: the project's defaults. Workers need read and write access to the bucket.
: "${HSD_SERVICE_ACCOUNT=}"
: "${HSD_NETWORK=}"
: "${HSD_SUBNETWORK=}"
# 1: workers get no external address (the network then needs Cloud NAT, and ssh a host inside it).
: "${HSD_INTERNAL_IPS=0}"

# The bucket (gs://...), in the slice's region, for code, compile cache and workdirs.
: "${HSD_BUCKET=}"
: "${HSD_WORKDIR=${HSD_BUCKET:+$HSD_BUCKET/runs/$HSD_NAME}}"
: "${HSD_CACHE=${HSD_BUCKET:+$HSD_BUCKET/compile_cache}}"
# A gs:// folder that every worker copies beside the code before it starts: weights/ and datasets/, as configs name them.
: "${HSD_FILES=}"
# The run: a config of this repository. Further flags of hsd_jax.train go after `--` on the command line.
: "${HSD_CONFIG=configs/hsd_qwen3_8b_v5p128.py}"
# 1: `create` also puts setup and launch into the workers' startup script, so that a worker that boots (the first
# time, after maintenance, or in a slice re-created by `watch`) sets itself up and resumes the run without ssh.
: "${HSD_AUTOSTART=0}"
# The commit whose code the workers run; empty: the checkout's HEAD. Uncommitted changes never reach a worker.
: "${HSD_COMMIT=}"

# Patience: seconds between looks, ssh attempts and the pause before the next, relaunches of a failed run in a row, and
# the looks at a running one after which the row ends.
: "${HSD_POLL_SECONDS=60}"
: "${HSD_SSH_ATTEMPTS=3}"
: "${HSD_SSH_PAUSE_SECONDS=20}"
: "${HSD_RETRIES=3}"
: "${HSD_STEADY_LOOKS=5}"
# Looks in a row at a run some of whose workers have ended, after which they are launched again; until then the others
# should have noticed and ended too.
: "${HSD_PARTLY_LOOKS=3}"
# Seconds after which watch ends a look at the run, or a script that it has started, and tries again.
: "${HSD_LOOK_SECONDS=600}"
: "${HSD_ACT_SECONDS=7200}"
# Looks at workers that should set themselves up (HSD_AUTOSTART) before watch does it over ssh.
: "${HSD_STARTUP_LOOKS=20}"

# On the worker: the directory of code, environment and logs, and the unprivileged user that runs the training.
: "${HSD_HOME=/opt/hsd}"
: "${HSD_USER=hsd}"
