# Read by every node before it starts Ray. A test holds it to foveate_serve's own settings.
export PATH="$HOME/foveate/bin:$PATH"
export RAY_AUTH_MODE=token
export RAY_USAGE_STATS_ENABLED=0
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0
export RAY_SERVE_THROUGHPUT_OPTIMIZED=1
export RAY_SERVE_ENABLE_HA_PROXY=1
export RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=foveate_serve.http.load_shedding.middlewares
export RAY_SERVE_HAPROXY_BINARY_PATH="$HOME/foveate/bin/foveate-haproxy"
export RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S=10
export RAY_SERVE_HAPROXY_RETRY_ON="conn-failure empty-response"
export RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=2
export RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=60
export RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=1
