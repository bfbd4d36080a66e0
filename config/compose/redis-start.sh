#!/bin/sh
# Starts Redis with the password from the secret. In a file of its own, because arguments are readable by every process.
set -eu
umask 077
cat > /tmp/redis.conf <<CONFIGURATION
dir /data
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
protected-mode yes
requirepass $(cat /run/secrets/redis_password)
CONFIGURATION
exec redis-server /tmp/redis.conf
