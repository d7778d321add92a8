#!/bin/sh
# Runs before removal and upgrade. On removal, dpkg passes "remove" and rpm passes 0.
set -e
[ -d /run/systemd/system ] || exit 0
case $1 in
remove | 0) systemctl disable --now chatwize_exporter.socket chatwize_exporter.service ;;
esac
