# Starts etcd, kube-apiserver, controller-manager and scheduler, with their certificates. Sourced by sandbox-cluster.

make_certificates() {
  local directory=$RUN/pki names name subject
  names="DNS:localhost,DNS:kubernetes.default.svc,DNS:node1,IP:127.0.0.1,IP:$API_SERVICE_IP,IP:$NODE_IP"
  [ ! -f "$directory/ca.crt" ] || return 0
  mkdir -p "$directory"
  (
    cd "$directory"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 365 -subj /CN=sandbox-e2e 2>/dev/null
    openssl genrsa -out sa.key 2048 2>/dev/null
    openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
    while read -r name subject; do
      openssl req -newkey rsa:2048 -nodes -keyout "$name.key" -out "$name.csr" -subj "$subject" 2>/dev/null
      openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$name.crt" \
        -extfile <(echo "subjectAltName=$names") 2>/dev/null
      [ "$name" = apiserver ] || make_kubeconfig "$name"
    done <<SUBJECTS
apiserver /CN=kube-apiserver
admin /O=system:masters/CN=admin
kubelet /O=system:nodes/CN=system:node:node1
proxy /CN=system:kube-proxy
controllers /CN=system:kube-controller-manager
scheduler /CN=system:kube-scheduler
SUBJECTS
  )
}

make_kubeconfig() {
  python3 - "$1" "$RUN/$1.conf" "https://$NODE_IP:6443" <<'PY'
import base64, json, pathlib, sys

name, target, server = sys.argv[1:]


def encoded(file):
    return base64.b64encode(pathlib.Path(file).read_bytes()).decode()


user = {"client-certificate-data": encoded(f"{name}.crt"), "client-key-data": encoded(f"{name}.key")}
pathlib.Path(target).write_text(
    json.dumps({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "e2e",
        "clusters": [{"name": "e2e", "cluster": {"server": server, "certificate-authority-data": encoded("ca.crt")}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
    })
)
PY
}

start_control_plane() {
  make_certificates
  start_etcd
  start_apiserver
  start_controllers
  start_scheduler
}

start_etcd() {
  cd "$RUN"
  # No fsync: no data outlives the test run.
  background etcd etcd --data-dir "$RUN/etcd" --unsafe-no-fsync --listen-client-urls http://$NODE_IP:2379 \
    --advertise-client-urls http://$NODE_IP:2379 --listen-peer-urls http://$NODE_IP:2380 \
    --initial-advertise-peer-urls http://$NODE_IP:2380 --initial-cluster default=http://$NODE_IP:2380
}

start_controllers() {
  cd "$RUN"
  background controllers "$BIN/kube-controller-manager" --kubeconfig=controllers.conf --bind-address=$NODE_IP \
    --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt --use-service-account-credentials \
    --leader-elect=false --allocate-node-cidrs=false '--controllers=*,-nodeipam'
}

start_scheduler() {
  cd "$RUN"
  background scheduler "$BIN/kube-scheduler" --kubeconfig=scheduler.conf --bind-address=$NODE_IP --leader-elect=false
}

start_apiserver() {
  cd "$RUN"
  background apiserver "$BIN/kube-apiserver" --etcd-servers=http://$NODE_IP:2379 \
    --secure-port=6443 --bind-address=$NODE_IP --advertise-address=$NODE_IP \
    --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key --client-ca-file=pki/ca.crt \
    --service-account-key-file=pki/sa.pub --service-account-signing-key-file=pki/sa.key \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range=$SERVICE_CIDR \
    --authorization-mode=Node,RBAC --allow-privileged=true --kubelet-preferred-address-types=InternalIP \
    --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key
  wait_until 60 kc get --raw /readyz
}
