#!/bin/busybox sh
# Runs the suites, and says on the first serial line what each of them said and how it ended; the kernel has the second.
export PATH=/tools:/bin HOME=/ WEIR_BIN=/suites/weir
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mount -t securityfs none /sys/kernel/security
mount -t cgroup2 none /sys/fs/cgroup
mount -t bpf none /sys/fs/bpf
mkdir -p /tmp /dev/shm /dev/pts
mount -t tmpfs -o mode=1777 none /tmp
mount -t tmpfs none /run
stty -F /dev/ttyS0 raw
exec >/dev/ttyS0 2>&1 </dev/null

suite() {
    name=$1
    shift
    echo "=== begin $name"
    "$@"
    echo "=== end $name $?"
}

# A kernel without a module may have it built in.
for module in /modules/*.ko; do
    insmod "$module" || echo "no module $module"
done
ip link set lo up
suite kernel uname -r
chmod 700 /var/lib/weir
suite ca /suites/weir ca init
suite doctor /suites/weir doctor --json
suite datapath /suites/datapath --test-threads 1
suite bypass /suites/bypass --test-threads 1 --nocapture
sync
poweroff -f
