# Installs the parts: Debian packages where they exist, Go modules built here for the rest.
# Sourced by sandbox-cluster.

KUBERNETES=v1.36.3 CONTAINERD=v2.4.2 HELM=v4.2.4
RUNC=v1.4.3 # Debian's 1.1.5 hides its errors
GVISOR=v0.0.0-20260905035102-160fafc42237
CALICO=v1.11.0-cni-plugin.0.20250813170300-a0db560f0520 # Calico 3.28, the newest that is a Go module
CALICO_API=v0.0.0-20240708202104-e3f70b269c2c
MINIO=v0.0.0-20260212201848-7aac2a2c5b7c
PROMETHEUS=v0.316.0 # Prometheus 3.16
DEBIAN_PACKAGES="etcd-server containernetworking-plugins iptables ipset libseccomp-dev pkg-config gcc libc6-dev debootstrap buildah curl openssl iproute2"

build() {
  timed "Debian packages" debian_packages
  timed "kubernetes" kubernetes_binaries
  go_binary helm helm.sh/helm/v4/cmd/helm@$HELM
  local module=github.com/containerd/containerd/v2/cmd tags="no_btrfs no_zfs no_devmapper"
  CGO_ENABLED=1 go_binary containerd "$module/containerd@$CONTAINERD" -tags "$tags"
  CGO_ENABLED=1 go_binary ctr "$module/ctr@$CONTAINERD" -tags "$tags"
  CGO_ENABLED=1 go_binary containerd-shim-runc-v2 "$module/containerd-shim-runc-v2@$CONTAINERD" -tags "$tags"
  CGO_ENABLED=1 go_binary runc github.com/opencontainers/runc@$RUNC -tags seccomp
  CGO_ENABLED=0 go_binary runsc gvisor.dev/gvisor/runsc@$GVISOR # static, or it cannot start itself again
  CGO_ENABLED=0 go_binary minio github.com/minio/minio@$MINIO -ldflags "-s -w"
  timed "calico" calico_binaries
  runsc_wrapper
  pause_root
  timed "base image" base_image
}

# For make test-alerts. Built without service discovery, whose clients for every cloud are most of the program.
prometheus_binaries() {
  local name
  for name in promtool prometheus; do
    CGO_ENABLED=0 go_binary $name github.com/prometheus/prometheus/cmd/$name@$PROMETHEUS -tags remove_all_sd -ldflags "-s -w"
  done
}

debian_packages() {
  local missing=() package
  for package in $DEBIAN_PACKAGES; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >"$LOG/apt.log" 2>&1
}

# go_binary NAME MODULE@VERSION FLAG...: build a binary unless it exists.
go_binary() {
  local name=$1 module=$2
  shift 2
  [ -x "$BIN/$name" ] || timed "$name" go_install "$name" "$@" "$module"
}

go_install() {
  local log=$LOG/$1-build.log
  shift
  GOBIN=$BIN go install -trimpath "$@" >"$log" 2>&1 || { tail -n 20 "$log" >&2; return 1; }
}

module_file() { go mod download -json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["GoMod"])'; }

# `go install` cannot build k8s.io/kubernetes: its staging modules have to be replaced by their published versions.
kubernetes_binaries() {
  local directory=$SRC/kubernetes names=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl) name missing=()
  for name in "${names[@]}"; do [ -x "$BIN/$name" ] || missing+=("$name"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  mkdir -p "$directory"
  (
    cd "$directory"
    local original staging=v0.${KUBERNETES#v1.} stamp=k8s.io/component-base/version module
    original=$(module_file k8s.io/kubernetes@$KUBERNETES)
    {
      echo "module sandbox-e2e/kubernetes"
      grep '^go ' "$original"
      echo "require k8s.io/kubernetes $KUBERNETES"
      for module in $(grep -oE 'k8s.io/[a-z-]+ v0.0.0( |$)' "$original" | awk '{print $1}' | sort -u); do
        echo "replace $module => $module $staging"
      done
    } >go.mod
    tools_file "${names[@]/#/k8s.io/kubernetes/cmd/}"
    go mod tidy >"$LOG/kubernetes-build.log" 2>&1
    go build -trimpath -ldflags "-s -w -X $stamp.gitVersion=$KUBERNETES -X $stamp.gitMajor=1 -X $stamp.gitMinor=36" \
      -o "$BIN/" "${missing[@]/#/k8s.io/kubernetes/cmd/}" >>"$LOG/kubernetes-build.log" 2>&1
  )
}

# A file that imports the programs, so that `go mod tidy` keeps what they need.
tools_file() {
  { printf '//go:build tools\n\npackage tools\n\nimport (\n'; printf '\t_ "%s"\n' "$@"; printf ')\n'; } >tools.go
}

calico_binaries() {
  local directory=$SRC/calico module=github.com/projectcalico/calico
  [ ! -x "$BIN/calico-felix" ] || [ ! -x "$BIN/calico" ] || [ ! -d "$directory/crds" ] || return 0
  mkdir -p "$directory"
  (
    cd "$directory"
    local original
    original=$(module_file $module@$CALICO)
    {
      echo "module sandbox-e2e/calico"
      grep '^go ' "$original"
      echo "require $module $CALICO"
      echo "replace github.com/projectcalico/api => github.com/projectcalico/api $CALICO_API"
      grep -E '^\s+k8s.io/\S+ => ' "$original" | sed 's/^\s*/replace /'
    } >go.mod
    tools_file $module/felix/cmd/calico-felix $module/cni-plugin/cmd/calico
    go mod tidy -e >"$LOG/calico-build.log" 2>&1 # -e: a Windows-only module is not to be had
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$BIN/" $module/felix/cmd/calico-felix $module/cni-plugin/cmd/calico \
      >>"$LOG/calico-build.log" 2>&1
    rm -rf crds
    cp -r --no-preserve=mode "$(go list -m -f '{{.Dir}}' $module)/libcalico-go/config/crd" crds
  )
}

# gVisor runs under runc's shim, because its own lowers an OOM score, which needs CAP_SYS_RESOURCE. Three things differ:
# - The process that `start` leaves running keeps its output open, and the shim would wait for it forever, so that process
#   writes to a file.
# - For every container of a pod, `create` names the one runsc-sandbox as the process. The shim would not notice that one
#   container has ended, and the pod would stay Terminating. So each gets a process that ends with it, as gVisor's own
#   shim has.
# - To kill a container whose runsc-sandbox has ended is an error, which the shim knows in runc's words only.
# This has consequences for gVisor pods here:
# - `kubectl logs` stays empty, but exec works. containerd must not be restarted under these pods.
# - Port-forwards fail: they are dialled in the pod's namespace on the node, where gVisor's network stack does not listen.
runsc_wrapper() {
  cat >"$BIN/runsc-oci" <<'WRAPPER'
#!/bin/sh
call() { runsc --platform=systrap --host-uds=all "$@"; }
case " $* " in
*" start "*)
  output=$(mktemp)
  call "$@" >"$output" 2>&1 </dev/null
  code=$?
  cat "$output"
  rm -f "$output"
  exit $code
  ;;
*" create "*)
  call "$@" || exit
  for word; do
    case $option in --root) root=$word ;; --pid-file) file=$word ;; --bundle) bundle=$word ;; esac
    option=$word
  done
  # The pod's first container ends with its runsc-sandbox.
  grep -q '"io.kubernetes.cri.container-type":"sandbox"' "$bundle/config.json" && exit
  setsid runsc-wait "$root" "$word" >/dev/null 2>&1 </dev/null &
  printf %s $! >"$file"
  exit
  ;;
*" kill "*)
  error=$(call "$@" 2>&1) && exit
  code=$?
  echo "$error" | sed 's/sandbox is not running/container not running/' >&2
  exit $code
  ;;
esac
call "$@"
WRAPPER
  # runsc-wait ROOT CONTAINER: end with the container, and with its exit status.
  cat >"$BIN/runsc-wait" <<'WAIT'
#!/bin/sh
while state=$(runsc --root="$1" state "$2"); do # it cannot be waited for before it is started
  answer=$(runsc --root="$1" wait "$2") && exit "$(echo "$answer" | sed 's/.*"exitStatus": *\([0-9]*\).*/\1/')"
  # The kernel ended gVisor itself, for lack of memory.
  case $state in *'"stopped"'*) break ;; esac
  sleep 0.2
done
exit 137
WAIT
  chmod +x "$BIN/runsc-oci" "$BIN/runsc-wait"
}

# The container that holds a pod's namespaces. It sleeps until a signal ends it.
pause_root() {
  [ ! -x "$SRC/pause/pause" ] || return 0
  mkdir -p "$SRC/pause"
  cat >"$SRC/pause.c" <<'C'
#include <signal.h>
#include <unistd.h>
static void leave(int number) { _exit(0); }
int main(void) {
  signal(SIGINT, leave);
  signal(SIGTERM, leave);
  for (;;) pause();
}
C
  cc -static -Os -o "$SRC/pause/pause" "$SRC/pause.c"
}
