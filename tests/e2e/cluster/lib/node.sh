# Starts containerd, kubelet, kube-proxy and Calico. Sourced by sandbox-cluster.

start_node() {
  cd "$RUN"
  mkdir -p "$STATE/containerd" containerd cni kubelet
  write_containerd_config >containerd/config.toml
  write_network_config >cni/10-calico.conflist
  write_kubelet_config >kubelet/config.yaml
  # Packets to a pod that is gone must not leave the machine by the default route.
  ip route replace blackhole $POD_CIDR
  mkdir -p /var/lib/calico
  printf node1 >/var/lib/calico/nodename
  start_containerd
  [ -f "$STATE/pause.tar" ] || pack_root localhost/pause:1 "$SRC/pause" '["/pause"]' "$STATE/pause.tar"
  load "$STATE/pause.tar"
  start_kubelet
  kc apply --server-side -f "$SRC/calico/crds" >/dev/null
  kc wait --for=condition=Established crd/clusterinformations.crd.projectcalico.org --timeout=30s >/dev/null
  cluster_objects | kc apply -f - >/dev/null
  wait_until 60 node_is_ready
  start_proxy
  start_felix
}

start_containerd() {
  cd "$RUN"
  background containerd "$BIN/containerd" -c containerd/config.toml
  wait_until 30 ctr -a "$SOCK" version
}

start_kubelet() {
  cd "$RUN"
  background kubelet "$BIN/kubelet" --config kubelet/config.yaml --kubeconfig kubelet.conf --hostname-override node1 \
    --node-ip $NODE_IP --root-dir "$RUN/kubelet/root" --cert-dir "$RUN/kubelet/pki"
}

node_is_ready() { kc get node node1 | grep -qw Ready; }

start_proxy() {
  cd "$RUN"
  background proxy "$BIN/kube-proxy" --kubeconfig=proxy.conf --hostname-override=node1 --proxy-mode=iptables \
    --cluster-cidr=$POD_CIDR --conntrack-max-per-core=0 --metrics-bind-address=$NODE_IP:10249 --healthz-bind-address=$NODE_IP:10256
}

start_felix() {
  cd "$RUN"
  background felix env KUBECONFIG="$RUN/admin.conf" FELIX_DATASTORETYPE=kubernetes FELIX_FELIXHOSTNAME=node1 \
    FELIX_IPV6SUPPORT=false FELIX_DEFAULTENDPOINTTOHOSTACTION=ACCEPT FELIX_IPTABLESBACKEND=NFT FELIX_BPFENABLED=false \
    FELIX_XDPENABLED=false FELIX_USAGEREPORTINGENABLED=false FELIX_IPINIPENABLED=false FELIX_VXLANENABLED=false \
    FELIX_LOGFILEPATH=none FELIX_LOGSEVERITYFILE=none FELIX_LOGSEVERITYSYS=none FELIX_LOGSEVERITYSCREEN=Warning \
    "$BIN/calico-felix"
}

# restrict_oom_score_adj: root of a nested machine may lack CAP_SYS_RESOURCE.
write_containerd_config() {
  cat <<TOML
version = 3
root = "$STATE/containerd/root"
state = "$RUN/containerd/state"
[grpc]
  address = "$SOCK"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$BIN", "/usr/lib/cni"]
    conf_dir = "$RUN/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runsc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runsc.options]
        BinaryName = "$BIN/runsc-oci"
TOML
}

write_network_config() {
  cat <<JSON
{"cniVersion": "0.3.1", "name": "pods", "plugins": [
  {"type": "calico", "datastore_type": "kubernetes", "nodename": "node1", "mtu": 1500,
   "policy": {"type": "k8s"}, "kubernetes": {"kubeconfig": "$RUN/admin.conf"},
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "$POD_CIDR"}]], "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "$RUN/addresses"}},
  {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}]}
JSON
}

write_kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $RUN/pki/ca.crt}}
authorization: {mode: AlwaysAllow}
address: $NODE_IP
healthzPort: 0
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$SOCK
clusterDNS: ["${SERVICE_CIDR%.0.0/16}.0.10"]
evictionHard: {nodefs.available: "1%", imagefs.available: "1%"}
# Without a registry, an image that the kubelet removed could not be pulled again.
imageGCHighThresholdPercent: 100
podLogsDir: $RUN/podlogs
podPidsLimit: 1024
YAML
}

cluster_objects() {
  cat <<YAML
apiVersion: crd.projectcalico.org/v1
kind: ClusterInformation
metadata: {name: default}
spec: {datastoreReady: true, clusterType: k8s}
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: gvisor}
handler: runsc
YAML
}

# After the kubelet has stopped: kill containers by process id, then leftover shims and gVisor processes by their binary.
stop_node() {
  local pid
  "$BIN/kube-proxy" --cleanup >/dev/null 2>&1
  ip route del blackhole $POD_CIDR 2>/dev/null
  timeout 10 "$BIN/ctr" -a "$SOCK" -n k8s.io tasks ls 2>/dev/null | awk 'NR > 1 {print $2}' | xargs -r kill -9 2>/dev/null
  forget_containers
  stop containerd
  for pid in /proc/[0-9]*; do
    case $(readlink "$pid/exe") in "$BIN"/containerd-shim-runc-v2 | "$BIN"/runsc*) kill -9 "${pid#/proc/}" ;; esac
  done
  iptables-save 2>/dev/null | grep -vE 'cali[-:]' | iptables-restore 2>/dev/null
  ipset list -n 2>/dev/null | grep '^cali' | xargs -r -n1 ipset destroy 2>/dev/null
  awk -v run="$RUN/" 'index($2, run) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount -l
}

# Keep images for the next start, because importing them takes a minute. Delete all state of containers.
forget_containers() {
  local containerd=(timeout 20 "$BIN/ctr" -a "$SOCK" -n k8s.io) name
  for name in $("${containerd[@]}" tasks ls -q 2>/dev/null); do "${containerd[@]}" tasks rm -f "$name"; done >/dev/null 2>&1
  "${containerd[@]}" containers ls -q 2>/dev/null | xargs -r "${containerd[@]}" containers rm >/dev/null 2>&1
  "${containerd[@]}" sandboxes ls -q 2>/dev/null | xargs -r "${containerd[@]}" sandboxes rm -f >/dev/null 2>&1
  rm -rf "$STATE"/containerd/root/io.containerd.grpc.v1.cri/{containers,sandboxes}
}
