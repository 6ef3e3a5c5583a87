#!/bin/busybox sh
# What a virtual machine of `cargo xtask kernels` does. It says on its console, a line each:
#   @ok CHECK: WHAT, @failed CHECK, @because WHY, @program NAME STEPS STACK, @end

/bin/busybox mkdir -p /bin /dev /proc /sys /tmp /run/mizar /usr/sbin
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin HOME=/root MIZAR_CONTROLLER=unix:/run/mizar/controller.sock
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
mkdir -p /run/mizar
for module in $(cat /modules/order); do
    insmod "/modules/$module.ko"
done
# busybox's shell takes its own programs first.
ip() {
    /usr/bin/ip "$@"
}

ip link set lo up

# Says whether a command succeeds, and what it says last; or, if it fails, all that it says.
check() {
    what=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        echo "@ok $what: $(grep . /tmp/said | tail -n 1)"
    else
        echo "@failed $what"
        tail -n 60 /tmp/said | sed 's/^/@because /'
    fi
}

# Tries a command for a while.
soon() {
    for attempt in $(seq 120); do
        "$@" && return
        sleep 0.5
    done
    return 1
}

# Runs some tests of a program: those whose names have one of these words.
tests() {
    program=$1
    shift
    cd /root
    if ! "./$program" --test-threads 1 "$@" >/tmp/tests 2>&1; then
        grep -E -A 8 'panicked|FAILED' /tmp/tests
        return 1
    fi
    # The tests run themselves in namespaces, so that there are results within results.
    echo "$(grep 'test result' /tmp/tests | tail -n 1 | cut -d ' ' -f 4) tests"
}

programs() {
    cd /root
    ./host --exact kernel::the_verifier_goes_through_each_program_in_few_steps --nocapture \
        >/tmp/programs 2>&1
    status=$?
    grep -oE '[a-z_]+ +[0-9]+ +[0-9]+$' /tmp/programs >/tmp/figures
    [ $status = 0 ] || { cat /tmp/programs; return 1; }
    echo "$(grep -c . /tmp/figures) programs"
}

# What one machine can try.
one() {
    check "programs load" programs
    sed 's/^ */@program /' /tmp/figures
    check "the lab's demo" mizar lab demo
    check "an agent attaches in each mode, and delivers" \
        tests host kernel::each_mode pair::guests_on
    # Before Linux 6.3 frames cannot be unwrapped in tc, and no agent has that done.
    case $(uname -r) in
    6.[12].*) ;;
    *) check "kernel and user space agree" tests differential ;;
    esac
}

# The NIC of one of two machines, and a namespace for its guest.
host() {
    ip link set eth0 up
    ip address add "100.64.0.$1/24" dev eth0
    ip netns add guest
    seq 400000 >/tmp/file
}

agent() {
    mizar agent --host "$1" --nic eth0 --controller https://100.64.0.1:6443 \
        --credentials /etc/mizar/host.pem --ca /etc/mizar/ca.crt >/tmp/agent 2>&1 &
}

in_guest() {
    ip netns exec guest "$@"
}

# Has the controller, and looks at everything from its end.
first() {
    host 1
    check "a controller" controller
    check "the first host joins" join h1 cat /tmp/h1
    agent h1
    check "guests are ready on both" mizar apply -f /pair.yaml --wait --timeout 240s
    check "native XDP in the driver of virtio" native
    for to in 10.0.0.3 fd00::3; do
        check "guests ping $to" in_guest ping -n -c 5 -W 5 "$to"
        check "packets go direct to $to" direct "$to"
        check "TCP from $to, merged by GRO" download "$to"
    done
    check "nothing else is dropped" drops
}

controller() {
    mizar pki init --pki /tmp/pki --network 100.64.0.0/24 &&
    { mizar controller --data /tmp/data --listen 100.64.0.1:6443 --pki /tmp/pki \
        --name 100.64.0.1 >/tmp/controller 2>&1 & } &&
    soon mizar host token h1 >/tmp/h1 2>/tmp/refused &&
    mkdir /tmp/www && mizar host token h2 >/tmp/www/token &&
    busybox httpd -p 100.64.0.1:80 -h /tmp/www && echo "two tokens"
}

join() {
    host=$1
    shift
    "$@" >/tmp/token && mizar host join - --name "$host" </tmp/token &&
        mizar pki show /etc/mizar/host.pem | head -n 1
}

native() {
    mizar agent status | tee /tmp/status | grep -i 'mode.*native' || { cat /tmp/status; return 1; }
}

counter() {
    mizar agent counters -o json | tr ',{}' '\n\n\n' | sed -n "s/.*\"$1\": *\\([0-9]*\\).*/\\1/p" |
        awk '{ all += $1 } END { print all + 0 }'
}

direct() {
    before=$(counter sent_direct)
    in_guest ping -n -i 0.2 -c 10 "$1" >/dev/null || return 1
    after=$(counter sent_direct)
    echo "$((after - before)) of 10"
    [ $((after - before)) -ge 10 ]
}

# What arrives is counted frame by frame in XDP; the guest gets buffers that GRO has merged.
download() {
    case $1 in *:*) url="http://[$1]/file" ;; *) url="http://$1/file" ;; esac
    frames=$(counter arrived)
    buffers=$(in_guest cat /sys/class/net/eth0/statistics/rx_packets)
    in_guest curl -s -m 120 -o /tmp/copy "$url" && cmp /tmp/file /tmp/copy || return 1
    frames=$(($(counter arrived) - frames))
    buffers=$(($(in_guest cat /sys/class/net/eth0/statistics/rx_packets) - buffers))
    echo "$frames frames became $buffers buffers"
    [ $((buffers * 2)) -lt "$frames" ]
}

# A guest's interface asks for routers and whether its address is free, at once, which are dropped
# as multicast, without an answer, or while its port has no row yet.
drops() {
    mizar agent counters >/tmp/counters
    if grep 'dropped: ' /tmp/counters | grep -vE 'multicast|unanswered|no_port'; then
        return 1
    fi
    echo "$(grep -c . /tmp/counters) lines of counters"
}

# Serves the first one.
second() {
    host 2
    check "the second host joins" join h2 soon wget -q -O - http://100.64.0.1/token
    agent h2
    mkdir /tmp/www && mv /tmp/file /tmp/www/file
    in_guest busybox httpd -p '[::]:80' -h /tmp/www
    sleep 1000
}

# The firmware leaves a line unfinished.
echo
"$script"
echo @end
sync
poweroff -f
