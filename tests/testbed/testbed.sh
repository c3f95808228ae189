#!/usr/bin/env bash
# Several "Docker hosts" on one machine. A host is a set of private namespaces (network, mount, pid, UTS) on one
# underlay switch, with its own /run, /etc/docker, /var/lib/mesh … at the usual paths and, if wanted, its own Docker
# engine. Nothing outside is touched: a Docker on the machine is not affected, and `stop` leaves nothing behind.
#
#   testbed.sh start [N] [--no-engine] [--ipv4-only | --ipv6-only] [--links 1-2,2-3] [--owner PID]
#                                    N hosts (default: 3): host1 … hostN. With --links only the named pairs are
#                                    connected. With --owner the testbed counts as a leftover once PID has ended.
#   testbed.sh stop                  end all hosts and remove every trace
#   testbed.sh status                hosts, addresses, engines
#   testbed.sh exec HOST CMD…        run a command on a host
#   testbed.sh docker HOST ARG…      the docker client against a host's engine
#   testbed.sh crash HOST            simulate a power failure: SIGKILL for everything on the host
#   testbed.sh boot HOST [--no-engine]    boot it again: /run is empty, disks are unchanged
#   testbed.sh engine HOST           start the engine of a host that was booted without one
#   testbed.sh podman-images HOST    load the images of the host's Docker into its podman
#   testbed.sh cut HOST | heal HOST  disconnect or reconnect a host
#   testbed.sh cut-pair A B | heal-pair A B    drop or pass all traffic between two hosts
#   testbed.sh switch CMD…           run a command in the switch's network namespace (its ports are named after the hosts)
#   testbed.sh sweep                 remove every testbed whose owner has ended
#
# Environment: TESTBED (name, default `mesh`; several testbeds can run in parallel), TESTBED_ROOT (default
# /tmp/mesh-testbed), DOCKERD_ARGS (further flags for the engines). Addresses are 192.168.77.N and fd77::N in every
# testbed: underlays are isolated. Images in each engine: `ubuntu` (a busybox shell) and `nginx` (a busybox web server).
set -euo pipefail

# Tests start several hundred hosts: what bash can do itself takes a tenth of the time of another program.
case $0 in /*) self=$0 ;; *) self=$PWD/$0 ;; esac
name=${TESTBED:-mesh}
root=${TESTBED_ROOT:-/tmp/mesh-testbed}
dir=$root/$name
switch=tb-$name-switch
subnet4=192.168.77
subnet6=fd77::
# /run is emptied at each boot; the others are disks.
private_dirs=(/run /etc/docker /etc/cni /etc/mesh /opt/cni
              /var/lib/docker /var/lib/containerd /var/lib/containers /var/lib/cni /var/lib/mesh)

die()   { echo "testbed: $*" >&2; exit 1; }
netns() { echo "tb-$name-$1"; }
hosts() { [ -d "$dir/hosts" ] && ls -v "$dir/hosts" || true; }

# Sleeps for so many seconds, without a process.
pause() {
    [ -n "${never:-}" ] || exec {never}<> <(:)
    read -rt "$1" -u "$never" || true
}

# ---- processes -----------------------------------------------------------------------------------------------------

# True if process $1 is in the network namespace with name $2.
is_in() { [ "/proc/$1/ns/net" -ef "/run/netns/$2" ]; }

# Sets `left` to the pids of all processes in the network namespace with this name.
find_processes_in() {
    local path
    left=()
    for path in /proc/[0-9]*; do ! is_in "${path#/proc/}" "$1" || left+=("${path#/proc/}"); done
}

# Prints the pid of a host's first process; fails if the host is down or the pid has been reused.
pid_of() {
    local pid
    { read -r pid <"$dir/hosts/$1/init.pid"; } 2>/dev/null || return 1
    is_in "$pid" "$(netns "$1")" && echo "$pid"
}

# Prints "PID START": a reused pid has another start time. Fails for a process that has ended.
fingerprint() {
    local stat=''
    { read -rd '' stat <"/proc/$1/stat"; } 2>/dev/null || [ -n "$stat" ] || return 1
    # shellcheck disable=SC2086  # split into the words after the command's name
    set -- "$1" ${stat##*) }
    [ "$2" != Z ] && echo "$1 ${21}"
}

# Never leaves an empty file: a sweep would take that for an owner that has ended.
set_owner() { fingerprint "$1" >"$dir/owner.new" && mv "$dir/owner.new" "$dir/owner"; }

# True if the testbed in directory $1 had an owner that has ended. Reads the owner again after its end was seen: a start
# hands the testbed to its user and ends, perhaps between the two looks.
abandoned() {
    local recorded again
    recorded=$(cat "$1/owner" 2>/dev/null) || return 1       # by cat, which a test replaces to meet that moment
    until [ "$(fingerprint "${recorded%% *}")" = "$recorded" ]; do
        again=$(cat "$1/owner" 2>/dev/null) || return 1
        [ "$again" != "$recorded" ] || return 0
        recorded=$again
    done
    return 1
}

in_host() {
    local pid
    pid=$(pid_of "$1") || die "$1 is not up"
    shift
    nsenter -t "$pid" -n -m -u -p -- "$@"
}

# ---- underlay ------------------------------------------------------------------------------------------------------

# One neighbour table serves all namespaces of the kernel. With its usual 1,024 entries the larger tests fill it, and then
# every packet to a new neighbour fails. Only raised, and only where the first namespace lets it be.
raise_neighbour_limits() {
    local limit file now
    for limit in gc_thresh3=16384 gc_thresh2=8192 gc_thresh1=4096; do
        for file in /proc/sys/net/ipv[46]/neigh/default/"${limit%=*}"; do
            [ -w "$file" ] && read -r now <"$file" || continue
            [ "$now" -ge "${limit#*=}" ] || echo "${limit#*=}" >"$file" || true
        done
    done
}

switch_up() {
    ip netns add "$switch"
    printf 'link %s\n' 'set lo up' 'add sw0 type bridge' 'set sw0 up' | ip -n "$switch" -batch -
    in_switch sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
    in_switch nft -f - <<'RULES'
table bridge cables {
    set cut { type ifname . ifname; }
    chain pass { type filter hook forward priority 0; policy accept; iifname . oifname @cut drop; }
}
RULES
}

in_switch() { nsenter --net="/run/netns/$switch" -- "$@"; }

plug() {
    local host=$1 number=${1#host} space
    space=$(netns "$host")
    ip netns add "$space"
    printf 'link %s\n' "add name $host type veth peer name eth0 netns $space" "set $host master sw0 up" |
        ip -n "$switch" -batch -
    {
        echo 'link set lo up'
        [ -e "$dir/ipv6-only" ] || echo "addr add $subnet4.$number/24 dev eth0"
        [ -e "$dir/ipv4-only" ] || echo "addr add $subnet6$number/64 dev eth0 nodad"
        echo 'link set eth0 up'
    } | ip -n "$space" -batch -
}

cut_pair()  { in_switch nft add element bridge cables cut "{ \"$1\" . \"$2\", \"$2\" . \"$1\" }"; }
heal_pair() { in_switch nft delete element bridge cables cut "{ \"$1\" . \"$2\", \"$2\" . \"$1\" }"; }

# Disconnects every pair that is not in the list `1-2,2-3`.
keep_links() {
    local list=,$1, count=$2 a b
    for ((a = 1; a <= count; a++)); do for ((b = a + 1; b <= count; b++)); do
        case $list in *",$a-$b,"* | *",$b-$a,"*) ;; *) cut_pair "host$a" "host$b" ;; esac
    done; done
}

# ---- one host ------------------------------------------------------------------------------------------------------

power_on() {
    local host=$1 disk=$dir/hosts/$1/disk unshare pid i
    [ ! -e "$disk/run" ] || rm -rf "$disk/run"
    make_mount_points "$disk"
    [ -e "/run/netns/$(netns "$host")" ] || plug "$host"
    # Not `ip netns exec`: that hides /sys/fs/cgroup, and dockerd then refuses to start.
    setsid nsenter --net="/run/netns/$(netns "$host")" \
        unshare --mount --uts --pid --fork --mount-proc --propagation private \
        bash "$self" first-process "$host" </dev/null >>"$dir/hosts/$host/init.log" 2>&1 &
    unshare=$!
    for ((i = 0; i < 1000; i++)); do [ -e "$disk/run/booted" ] && break; pause 0.01; done
    [ -e "$disk/run/booted" ] || die "$host did not come up: $(tail -n 3 "$dir/hosts/$host/init.log")"
    pid=$(child_of "$unshare") && echo "$pid" >"$dir/hosts/$host/init.pid"
}

# Prints the pid of the only child of a process.
child_of() {
    local children=''
    { read -r children <"/proc/$1/task/$1/children"; } 2>/dev/null || true
    [ -n "$children" ] || children=$(pgrep -P "$1")
    echo "${children% }"
}

# Mount points must exist on the machine; those created here are removed with the last testbed.
make_mount_points() {
    local path
    mkdir -p "${private_dirs[@]/#/$1}" "$1"/run/{lock,testbed}   # the latter for files of tests
    (
        flock 9
        for path in "${private_dirs[@]}"; do
            while [ ! -d "$path" ]; do
                local top=$path
                while [ ! -d "${top%/*}/" ]; do top=${top%/*}; done
                mkdir "$top" && echo "$top" >>"$root/made"
            done
        done
    ) 9<"${root%/*}"
}

# Runs as process 1 of a host: sets up its own view of the file system, then reaps orphans forever.
first_process() {
    local host=$1 disk=$dir/hosts/$1/disk path fstab=$dir/hosts/$1/fstab
    hostname "$host"
    mkdir -p "$dir/hosts/$host/cgroup"
    mount --rbind /sys/fs/cgroup "$dir/hosts/$host/cgroup"
    mount -t sysfs sysfs /sys
    mount --move "$dir/hosts/$host/cgroup" /sys/fs/cgroup
    umount /sys/fs/cgroup/unified 2>/dev/null || true       # crun refuses a hybrid of cgroup v1 and v2
    # An unreachable DNS server: names missing from /etc/hosts must fail at once, not after ten seconds.
    mount --bind "$dir/resolv.conf" "$(readlink -f /etc/resolv.conf)" 2>/dev/null || true
    {
        echo "$dir/hosts-file /etc/hosts none bind"
        for path in "${private_dirs[@]}"; do [ "$path" = /run ] || echo "$disk$path $path none bind"; done
        echo "$disk/run /run none bind"                      # last: it may hide the source paths above
    } >"$fstab"
    mount --all --fstab "$fstab"
    : >/run/booted
    trap : TERM INT HUP
    while :; do sleep infinity & wait || true; done
}

# Ends all processes of a host. With the first process of its PID namespace the kernel ends all others in it; to kill each
# of a list would now and then hit a process of another testbed that got the pid of one that had just ended.
power_off() {
    local host=$1 space pid left=() i
    space=$(netns "$host")
    if pid=$(pid_of "$host"); then
        kill -KILL "$pid" 2>/dev/null || true
        for ((i = 0; i < 100; i++)); do is_in "$pid" "$space" || break; pause 0.01; done
    fi
    for ((i = 0; i < 200; i++)); do
        find_processes_in "$space"
        [ "${#left[@]}" -gt 0 ] || break
        # After a second: what entered the host's network from outside.
        [ "$i" -lt 20 ] || for pid in "${left[@]}"; do
            ! is_in "$pid" "$space" || kill -KILL "$pid" 2>/dev/null || true
        done
        pause 0.05
    done
    rm -f "$dir/hosts/$host/init.pid"
    ip -n "$switch" link del "$host" 2>/dev/null || true
    ip netns del "$space" 2>/dev/null || true
    remove_cgroups "mesh-testbed-$name/$host"
}

remove_cgroups() {
    local top i
    for top in /sys/fs/cgroup/"$1" /sys/fs/cgroup/*/"$1"; do
        for ((i = 0; i < 40; i++)); do                       # a cgroup is busy until its last process is gone
            [ -d "$top" ] || break
            find "$top" -depth -type d -exec rmdir {} + 2>/dev/null && break
            pause 0.05
        done
    done
}

# ---- engines and images --------------------------------------------------------------------------------------------

engine_up() {
    local host=$1 log=$dir/hosts/$1/dockerd.log i
    # shellcheck disable=SC2086  # flags are words
    in_host "$host" setsid dockerd --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/mesh-testbed-$name/$host" \
        ${DOCKERD_ARGS:-} </dev/null >>"$log" 2>&1 &
    local engine=$!
    for ((i = 0; i < 600; i++)); do
        # The engine has its socket long before it answers; then a client waits for it.
        if [ -e "$dir/hosts/$host/disk/run/docker.sock" ] && in_host "$host" docker info >/dev/null 2>&1; then
            import_images "$host" docker
            return
        fi
        kill -0 "$engine" 2>/dev/null || break
        pause 0.1
    done
    die "the engine of $host did not come up: $(tail -n 3 "$log")"
}

import_images() {
    local host=$1 client=$2 log=$dir/hosts/$1/images.log disk=$dir/hosts/$1/disk
    local path='ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    local serve='CMD ["httpd","-f","-p","80","-h","/www"]'
    [ ! -e "$disk/$client-has-images" ] || return 0
    in_host "$host" "$client" import -c 'CMD ["/bin/sh"]' -c "$path" - ubuntu <"$dir/image.tar" >>"$log" 2>&1
    in_host "$host" "$client" import -c "$serve" -c "$path" - nginx <"$dir/image.tar" >>"$log" 2>&1
    : >"$disk/$client-has-images"
}

# A 2 MB image around busybox, since a registry may be unreachable.
make_image() {
    local tree=$dir/image
    mkdir -p "$tree"/{bin,etc,proc,sys,dev,tmp,root,run,usr/bin,var,www}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    # Hard links: engines unpack the image again and again, and after many deletions ext4 takes a millisecond for an inode.
    chroot "$tree" /bin/busybox --install /bin 2>/dev/null || install_applets "$tree/bin"
    echo 'root:x:0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
    echo 'root:x:0:' >"$tree/etc/group"
    echo '<h1>Welcome to the mesh</h1>' >"$tree/www/index.html"
    chmod 1777 "$tree/tmp"
    tar -C "$tree" -cf "$dir/image.tar" .
    rm -rf "$tree"
}

# For a busybox that does not do it itself.
install_applets() {
    local applet
    for applet in $("$1/busybox" --list); do [ -e "$1/$applet" ] || ln "$1/busybox" "$1/$applet"; done
}

# ---- the testbed ---------------------------------------------------------------------------------------------------

start() {
    local count=3 engine=yes links='' owner='' only='' i
    while [ $# -gt 0 ]; do
        case $1 in
            --no-engine) engine=no ;;
            --ipv4-only | --ipv6-only) only=${1#--} ;;
            --links) links=${2:?--links wants pairs}; shift ;;
            --owner) owner=${2:?--owner wants a pid}; shift ;;
            [1-9] | [1-9][0-9]) count=$1 ;;
            *) die "start: what is '$1'?" ;;
        esac
        shift
    done
    check_machine "$engine"
    make_room
    [ -z "$only" ] || touch "$dir/$only"
    write_names "$count"
    raise_neighbour_limits
    switch_up
    [ "$engine" = no ] || make_image
    for ((i = 1; i <= count; i++)); do power_on "host$i"; done
    [ -z "$links" ] || keep_links "$links" "$count"
    [ "$engine" = no ] || for ((i = 1; i <= count; i++)); do engine_up "host$i"; done
    # Until here this script was the owner, so that a killed start counts as a leftover.
    if [ -z "$owner" ]; then
        rm "$dir/owner"
    elif ! set_owner "$owner"; then
        stop
        die "process $owner, for which this testbed was, has ended"
    fi
    touch "$dir/complete"
}

check_machine() {
    local tool missing=''
    [ "$EUID" = 0 ] || die "needs root"
    for tool in ip nsenter unshare nft pgrep flock; do command -v $tool >/dev/null || missing+=" $tool"; done
    [ "$1" = no ] || for tool in dockerd docker iptables busybox; do
        command -v $tool >/dev/null || missing+=" $tool"
    done
    [ -z "$missing" ] || die "not installed:$missing (tests/testbed/install-deps.sh installs them)"
}

# Removes the leftovers of an aborted run; refuses if the testbed is in use.
make_room() {
    mkdir -p "$root" && [ -O "$root" ] || die "$root belongs to someone else"
    sweep
    if [ -d "$dir" ] || compgen -G "/run/netns/tb-$name-*" >/dev/null; then
        if [ -e "$dir/owner" ] && ! abandoned "$dir"; then
            die "'$name' belongs to process $(cut -d' ' -f1 "$dir/owner"), which is running"
        fi
        if [ -e "$dir/complete" ] && [ -n "$(running)" ]; then
            die "'$name' is up already ('$0 stop' ends it)"
        fi
        echo "testbed: removing what an earlier run left" >&2
        stop
    fi
    # Not while another testbed, as the last one, removes the common directory.
    (
        flock 9
        mkdir -p "$dir/hosts"
        chmod 711 "$root"
        set_owner $$
    ) 9<"${root%/*}"
}

running() { local host; for host in $(hosts); do pid_of "$host" || true; done; }

write_names() {
    local i
    { echo "127.0.0.1 localhost"; echo "::1 localhost"; } >"$dir/hosts-file"
    for ((i = 1; i <= $1; i++)); do
        [ -e "$dir/ipv6-only" ] || echo "$subnet4.$i host$i" >>"$dir/hosts-file"
        [ -e "$dir/ipv4-only" ] || echo "$subnet6$i host$i" >>"$dir/hosts-file"
    done
    printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$dir/resolv.conf"
}

stop() {
    local space host
    for space in /run/netns/"tb-$name"-*; do
        host=${space#"/run/netns/tb-$name-"}
        [ ! -e "$space" ] || [ "$host" = switch ] || power_off "$host"
    done
    ip netns del "$switch" 2>/dev/null || true
    remove_cgroups "mesh-testbed-$name"
    rm -rf --one-file-system "$dir"
    remove_mount_points
}

remove_mount_points() {
    [ -d "$root" ] || return 0
    (
        flock 9
        # shellcheck disable=SC2010  # names are ours
        if ! ls "$root" | grep -qvx made; then
            [ -e "$root/made" ] && tac "$root/made" | xargs -r rmdir --ignore-fail-on-non-empty 2>/dev/null || true
            rm -rf "$root"
        fi
    ) 9<"${root%/*}"
}

sweep() {
    local other
    for other in "$root"/*/; do
        ! abandoned "$other" || TESTBED=$(basename "$other") bash "$self" stop
    done
}

status() {
    local host state
    for host in $(hosts); do
        if pid_of "$host" >/dev/null; then
            state=$(in_host "$host" docker version -f 'docker {{.Server.Version}}' 2>/dev/null) || state='no engine'
            echo "$host up $subnet4.${host#host} $subnet6${host#host} $state"
        else
            echo "$host down"
        fi
    done
}

boot() {
    [ -d "$dir/hosts/$1" ] || die "there is no $1"
    ! pid_of "$1" >/dev/null || die "$1 is up"
    power_on "$1"
    [ "${2:-}" = --no-engine ] || [ ! -e "$dir/image.tar" ] || engine_up "$1"
}

usage() { sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$self"; }

verb=${1:-help}
[ $# -eq 0 ] || shift
case $verb in
    start | stop | status | sweep | boot) "$verb" "$@" ;;
    exec)          in_host "$@" ;;
    docker)        host=${1:?which host?}; shift; in_host "$host" docker "$@" ;;
    crash)         power_off "${1:?which host?}" ;;
    engine)        engine_up "${1:?which host?}" ;;
    podman-images) import_images "${1:?which host?}" podman ;;
    cut)           ip -n "$switch" link set "${1:?which host?}" down ;;
    heal)          ip -n "$switch" link set "${1:?which host?}" up ;;
    cut-pair)      cut_pair "${1:?which host?}" "${2:?and which other?}" ;;
    heal-pair)     heal_pair "${1:?which host?}" "${2:?and which other?}" ;;
    switch)        in_switch "$@" ;;
    first-process) first_process "$1" ;;
    help | --help) usage ;;
    *)             usage >&2; exit 2 ;;
esac
