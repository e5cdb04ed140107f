# shellcheck shell=sh disable=SC2034
# The steps of a deployment and the way back; read by vm.sh and cluster.sh, which say how each is done:
#   read_state, write_state deployed|before    $version and $run_id, as they are remembered
#   start all|servers     bring $version and $run_id up; servers: only a run id has changed
#   package               $run_id's model into the store of champions, unless it is there
#   verify ARGUMENT...    deploy.delivery.verify: prints the run that is served, or fails
#   worker_serves RUN     whether the stream worker does, too
#   has_version           whether the files of $version are to be had

say() { printf '%s %s: %s\n' "$(date -u +%H:%M:%S)" "${0##*/}" "$*" >&2; }

fail() {
    say "$2"
    exit "$1"
}

# bring_up VERSION RUN_ID: those, answering as meant, or again what is deployed.
bring_up() {
    read_state deployed
    old_version=$version old_run_id=$run_id served=''
    if [ -n "$old_version" ]; then
        served=$(verify --deadline 5 2>/dev/null) || say 'what is deployed does not answer'
    fi
    version=$1 run_id=$2

    what=all
    [ "$version" != "$old_version" ] || what=servers # the predecessor's two restarts
    set --
    if [ -n "$run_id" ]; then
        set -- --expect-run-id "$run_id"
    elif [ -n "$served" ] && [ -z "$old_run_id" ]; then
        set -- --expect-run-id "$served" # only code changes: the model must not
    fi

    if { [ -z "$run_id" ] || package; } && start "$what" &&
        now=$(verify --deadline "$CHURN_PATIENCE" "$@") && worker_serves "$now"; then
        write_state deployed
        if [ -n "$old_version" ] && [ "$old_version $old_run_id" != "$version $run_id" ]; then
            version=$old_version run_id=$old_run_id
            write_state before
        fi
        say "deployed: run $now answers (before: ${served:-none})"
        return
    fi

    [ -n "$old_version" ] || fail 1 'FAILED: the first deployment; there is nothing to go back to'
    say 'FAILED: going back to what was deployed'
    version=$old_version run_id=$old_run_id
    if ! start "$what" ||
        ! verify --deadline "$CHURN_PATIENCE" ${served:+--expect-run-id "$served"} >/dev/null; then
        fail 2 'FAILED TWICE: what was deployed before does not answer either'
    fi
    fail 1 "FAILED: version $version with ${run_id:-the champion} is back"
}

# run_command deploy|rollback|status ARGUMENT...
run_command() {
    command=${1:-}
    [ $# -eq 0 ] || shift
    case $command in
    deploy)
        read_state deployed
        for argument; do
            case $argument in
            version=*) version=${argument#version=} ;;
            run_id=*) run_id=${argument#run_id=} ;;
            *) fail 64 "unknown: $argument" ;;
            esac
        done
        case $version$run_id in *[!A-Za-z0-9._-]* | *..*) fail 64 'letters, digits and . _ - only' ;; *) ;; esac
        if [ -z "$version" ] || ! has_version; then fail 64 "the files of version $version are not here"; fi
        bring_up "$version" "$run_id"
        ;;
    rollback)
        read_state before
        [ -n "$version" ] || fail 64 'nothing was deployed before'
        bring_up "$version" "$run_id"
        ;;
    status)
        read_state deployed
        echo "version=$version run_id=$run_id"
        ;;
    *) fail 64 'deploy [version=V] [run_id=R] | rollback | status' ;;
    esac
}
