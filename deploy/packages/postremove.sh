#!/bin/sh
# Runs after removal and upgrade.
set -e
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
