#!/bin/sh
# Before removal and upgrade; a removal is called "remove" by dpkg and 0 by rpm.
set -e
[ -d /run/systemd/system ] || exit 0
case $1 in
remove | 0) systemctl disable --now chatwize_exporter.socket chatwize_exporter.service ;;
esac
