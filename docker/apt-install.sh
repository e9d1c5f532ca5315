#!/bin/sh
# Installs system packages while an image is built, without what they recommend and without traces.
set -eu
if [ -n "${APT_SNAPSHOT:-}" ]; then
    # Ubuntu keeps its archive as it was; nothing is taken from others.
    rm -f /etc/apt/sources.list.d/cuda*
    find /etc/apt/sources.list /etc/apt/sources.list.d -type f -exec sed -i -E \
        "s#https?://[a-z.]*ubuntu\.com/ubuntu/?#https://snapshot.ubuntu.com/ubuntu/$APT_SNAPSHOT/#" {} +
fi
touch -d '1 second ago' /tmp/begun
apt-get update -qq
apt-get install -qq -y --no-install-recommends "$@"
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/cache/debconf/*-old \
    /var/lib/dpkg/*-old /var/log/apt /var/log/*.log
find / -xdev -newer /tmp/begun ! -path '/proc/*' ! -path '/sys/*' ! -path /etc/resolv.conf \
    ! -path /etc/hosts ! -path /etc/hostname -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
rm /tmp/begun
