#!/bin/sh
# Deploys to a VM: sends the files of the version, then runs its vm.sh there.
#   over_ssh.sh USER@HOST deploy [version=COMMIT_OR_TAG] [run_id=R] | rollback | status
# CHURN_SSH: the ssh command with its options; CHURN_DEPLOY: the folder on the VM (churn in the home).
set -eu

host=$1
shift
folder=${CHURN_DEPLOY:-churn}
for argument in "$folder" "$@"; do # they become part of a command line over there
    case $argument in *[!A-Za-z0-9._=/-]* | *..*)
        echo "over_ssh.sh: not allowed: $argument" >&2
        exit 64
        ;;
    esac
done

remote() { # CHURN_SSH holds several words
    ${CHURN_SSH:-ssh -o BatchMode=yes -o ServerAliveInterval=15} "$host" "$@"
}

version=''
for argument; do
    case $argument in version=*) version=${argument#version=} ;; esac
done
if [ -n "$version" ]; then
    cd "$(dirname "$0")/../.."
    git rev-parse --quiet --verify "$version^{commit}" >/dev/null || {
        echo "over_ssh.sh: no commit $version here" >&2
        exit 64
    }
    files=$folder/releases/$version
    git archive "$version" .env.cloud docker-compose.yaml deploy |
        remote "rm -rf $files.new && mkdir -p $files.new && tar -x -C $files.new &&
            rm -rf $files && mv $files.new $files"
else
    version=$(remote "cat $folder/deployed")
    version=${version#version=}
    version=${version%% *}
fi
remote "CHURN_DEPLOY=$folder exec $folder/releases/$version/deploy/delivery/vm.sh $*" </dev/null
