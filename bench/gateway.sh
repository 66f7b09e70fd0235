#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# gateway.sh BUILD [ROUNDS [SECONDS]] - the gateway against nginx as a proxy on the same upstream, in alternating rounds.
#
# Both get one event loop (loops = 1, worker_processes 1), keep-alive on both sides, and pass the same 200-byte POST on to the
# same worker; the daemon also finds the model, leases a slot and releases it. wrk loads them in turn. What is printed are
# medians over the rounds and their ratios: absolute figures of a shared machine mean little.
set -euo pipefail

build=$(realpath "$1") rounds=${2:-7} seconds=${3:-3} connections=${CONNECTIONS:-32}
work=$(mktemp -d)
daemon= nginx=
cleanup()
{
	[ -n "$nginx" ] && kill "$nginx" 2>/dev/null || true
	[ -n "$daemon" ] && kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT

cat > "$work/catalog.toml" <<TOML
[[model]]
id = "bench"
file = "$work/model"
capability = "text_to_text"
est_memory_allocation_mb = 16
backend = "upstream"
slots = 64
max_workers = 1
TOML
cat > "$work/pool.toml" <<TOML
[pool]
state_dir = "$work/state"
[http]
listen = ["127.0.0.1:0"]
loops = 1
[catalog]
files = ["$work/catalog.toml"]
[backends.upstream]
command = ["$build/bench/upstream", "--port", "{port}"]
readiness = "http:/health"
device = "cpu"
TOML
echo > "$work/model"
cat > "$work/post.lua" <<'LUA'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"model":"bench","messages":[{"role":"user","content":"' .. string.rep("Tell me of the sea. ", 7) .. '"}]}'
done = function(summary, latency)
  io.write(string.format("FIGURES %.0f %.0f %.0f %d %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50), latency:percentile(99),
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    summary.requests))
end
LUA

exec 3< <(exec "$build/daemon/pool-managerd" --config "$work/pool.toml" 2>&1)
daemon=$!
gateway=
while IFS= read -r line <&3; do
	case $line in *' daemon serving'*) gateway=${line##*address=}; break ;; esac
done
[ -n "$gateway" ] || { echo "gateway.sh: the daemon did not start" >&2; exit 1; }
cat <&3 > "$work/daemon.log" &

# The first request loads the worker; then its port is known, and nginx is put in front of the same one.
curl -fsS -o "$work/answer" -H 'Content-Type: application/json' -d '{"model":"bench"}' \
	"http://$gateway/v1/chat/completions"
port=$(curl -fsS "http://$gateway/v2/workers" | sed -n 's/.*"port":\([0-9]*\).*/\1/p')
nginx_port=$((20000 + RANDOM % 10000))
cat > "$work/nginx.conf" <<NGINX
daemon off;
master_process off;
worker_processes 1;
pid $work/nginx.pid;
error_log $work/nginx.err;
events { worker_connections 4096; }
http {
	access_log off;
	keepalive_requests 1000000000;
	client_body_buffer_size 64k;
	upstream worker { server 127.0.0.1:$port; keepalive 256; keepalive_requests 1000000000; }
	server {
		listen 127.0.0.1:$nginx_port;
		location / {
			proxy_pass http://worker;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
		}
	}
}
NGINX
nginx -p "$work" -c "$work/nginx.conf" -e "$work/nginx.err" &
nginx=$!
curl -fsS -o "$work/answer2" --retry 50 --retry-connrefused --retry-delay 0 --retry-max-time 20 \
	-H 'Content-Type: application/json' -d '{"model":"bench"}' "http://127.0.0.1:$nginx_port/v1/chat/completions" 2>/dev/null
cmp "$work/answer" "$work/answer2"

# Processor time that a process has used, in microseconds: fields 14 and 15 of /proc/PID/stat are ticks.
cpu_us() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1000000 / hz }' "/proc/$1/stat"; }

# measure ADDRESS NAME PID: a line of requests/s, p50, p99, failed, processor us per request.
measure()
{
	local before after figures
	before=$(cpu_us "$3")
	figures=$(wrk -t1 -c"$connections" -d"$seconds" --latency -s "$work/post.lua" \
		"http://$1/v1/chat/completions" | sed -n 's/^FIGURES //p')
	after=$(cpu_us "$3")
	echo "$figures" | awk -v used=$((after - before)) \
		'{ printf "%s %s %s %s %.2f\n", $1, $2, $3, $4, used / $5 }' >> "$work/$2"
}
measure "$gateway" warm "$daemon"
measure "127.0.0.1:$nginx_port" warm "$nginx"
for ((round = 0; round < rounds; round++)); do
	measure "$gateway" gateway "$daemon"
	measure "127.0.0.1:$nginx_port" nginx "$nginx"
done

median() { cut -d' ' -f"$2" "$work/$1" | sort -n | sed -n "$(((rounds + 1) / 2))p"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
printf '%-28s %12s %12s %8s\n' "gateway, $connections connections" pool-managerd nginx ratio
row=1
for name in 'requests per second' 'p50 us' 'p99 us'; do
	a=$(median gateway $row) b=$(median nginx $row)
	printf '%-28s %12s %12s %8s\n' "$name" "$a" "$b" "$(ratio "$a" "$b")"
	row=$((row + 1))
done
a=$(median gateway 5) b=$(median nginx 5)
printf '%-28s %12s %12s %8s\n' 'processor us per request' "$a" "$b" "$(ratio "$a" "$b")"
printf '%-28s %12s %12s\n' 'failed requests' "$(awk '{s+=$4} END {print s}' "$work/gateway")" \
	"$(awk '{s+=$4} END {print s}' "$work/nginx")"
