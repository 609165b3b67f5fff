# Builds images: a Debian base with debootstrap, the Dockerfiles with buildah, and archives that containerd imports.
# Sourced by sandbox-cluster.

BASE_IMAGE=localhost/sandbox-base:bookworm
FULL_BASE_IMAGE=localhost/sandbox-base:trixie
FULL_IMAGE=localhost/sandbox-full:e2e
IMAGES=$STATE/images

bud() { buildah --root "$STATE/buildah" --runroot "$STATE/buildah-run" --storage-driver overlay "$@"; }

load() { ctr -a "$SOCK" -n k8s.io images import "$1" >/dev/null 2>"$LOG/import.log" || { cat "$LOG/import.log" >&2; return 1; }; }

# base_image [IMAGE]: build Debian with debootstrap. The image's tag is the name of the release.
base_image() {
  local image=${1:-$BASE_IMAGE} root=$STATE/base container
  ! bud inspect --type image "$image" >/dev/null 2>&1 || return 0
  rm -rf "$root"
  debootstrap --variant=minbase --include=ca-certificates "${image##*:}" "$root" >"$LOG/debootstrap.log"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}/*
  container=$(bud from scratch)
  bud add --quiet "$container" "$root" / >/dev/null
  bud config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  bud commit --quiet "$container" "$image" >/dev/null
  bud rm "$container" >/dev/null
  rm -rf "$root"
}

# Print a digest of everything that goes into an image. If it is unchanged, the last build's archive can be reused.
fingerprint() {
  local name=$1 sources
  sources=("deploy/images/$name" deploy/images/pinned.py deploy/images/metadata.py constraints.txt pyproject.toml .dockerignore)
  case $name in
    operator) sources+=(operator proto sandbox_client) ;;
    client) sources+=(sandbox_client proto) ;;
    agent) sources+=(sandbox_agent sandbox_link proto) ;;
    sandbox) sources+=(sandbox_link sandbox_runtime) ;;
  esac
  (
    cd "$REPOSITORY"
    bud inspect --type image --format '{{.FromImageID}}' $BASE_IMAGE
    find "${sources[@]}" -type f ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum
  ) | sha256sum | cut -c1-16
}

# Collect the machine's settings for package registries: certificates, apt's sources and options, pip's index, npm's
# registry. They are mounted, so that images do not contain them. RELEASE is the image's Debian, maybe not the machine's.
registry_mounts() {
  local release=$1 directory=$STATE/registry bundle=/etc/ssl/registry.pem sources=/etc/apt/sources.list.d/debian.sources index registry
  mkdir -p "$directory"
  cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$directory/registry.pem"
  {
    apt-config dump Acquire | grep -E '^Acquire::(Check-|https?::Proxy )' || true
    echo "Acquire::https::CAInfo \"$bundle\";"
  } >"$directory/apt.conf"
  index=${PIP_INDEX_URL:-$(python3 -m pip config get global.index-url 2>/dev/null || true)}
  { printf '[global]\ncert = %s\n' $bundle; [ -z "$index" ] || echo "index-url = $index"; } >"$directory/pip.conf"
  registry=$(npm config get registry 2>/dev/null || true)
  { printf 'cafile=%s\n' $bundle; [ -z "$registry" ] || echo "registry=$registry"; } >"$directory/npmrc"
  printf '%s\n' -v "$directory/registry.pem:$bundle:ro" -v "$directory/apt.conf:/etc/apt/apt.conf.d/99registry:ro" \
    -v "$directory/pip.conf:/etc/pip.conf:ro" -v "$directory/npmrc:/root/.npmrc:ro"
  [ -e $sources ] || return 0
  sed "s/$(. /etc/os-release && echo "$VERSION_CODENAME")/$release/g" $sources >"$directory/$release.sources"
  printf '%s\n' -v "$directory/$release.sources:$sources:ro"
}

# build_image NAME TAG BASE: build deploy/images/NAME on BASE.
build_image() {
  local name=$1 tag=$2 base=$3 release=bookworm mounts
  [[ $base != *trixie ]] || release=trixie
  mapfile -t mounts < <(registry_mounts $release)
  bud bud --layers --isolation chroot --network host "${mounts[@]}" --build-arg BASE="$base" \
    -f "$REPOSITORY/deploy/images/$name/Dockerfile" -t "$tag" "$REPOSITORY" 2>&1 | tee "$LOG/image-$name.log" | build_steps ||
    { tail -n 30 "$LOG/image-$name.log" >&2; return 1; }
}

# Print the progress of a build, one line for each step.
build_steps() { sed -un 's/^\(STEP .\{1,90\}\).*/  \1/p' >&2; }

# pack_image TAG ARCHIVE
pack_image() {
  rm -f "$2" "$2.part"
  bud push --quiet "$1" "docker-archive:$2.part:$1"
  mv "$2.part" "$2"
}

build_archive() {
  local name=$1 archive=$2 tag=localhost/sandbox-$1:e2e
  [ "$name" != sandbox ] || tag=localhost/sandbox-slim:e2e
  build_image "$name" "$tag" $BASE_IMAGE
  pack_image "$tag" "$archive"
}

# Build the image with 200+ libraries into buildah's storage, and import it if a node runs. The archive is not kept.
full_image() {
  local slim=localhost/sandbox-slim:trixie
  mkdir -p "$IMAGES"
  timed "base image" base_image $FULL_BASE_IMAGE
  timed "image sandbox (trixie)" build_image sandbox $slim $FULL_BASE_IMAGE
  timed "image sandbox-full" build_image sandbox-full $FULL_IMAGE $slim
  [ -S "$SOCK" ] || return 0
  pack_image $FULL_IMAGE "$IMAGES/sandbox-full.tar"
  timed "import sandbox-full" load "$IMAGES/sandbox-full.tar" || { rm "$IMAGES/sandbox-full.tar"; return 1; }
  rm "$IMAGES/sandbox-full.tar"
}

# Print the sizes of both images on trixie. Then run the Python program on stdin in the full one, as a user like a pod's.
full_python() {
  local container code=0
  bud images --format '{{.Name}}:{{.Tag}} {{.Size}}' | grep -E '^localhost/sandbox-(slim:trixie|full:)'
  container=$(bud from $FULL_IMAGE)
  bud run --isolation chroot --user 1000000001:10002 "$container" -- python3 - || code=$?
  bud rm "$container" >/dev/null
  return $code
}

images() {
  local names=("$@") name archive
  [ ${#names[@]} -gt 0 ] || names=(operator agent sandbox)
  mkdir -p "$IMAGES"
  base_image
  for name in "${names[@]}"; do
    archive=$IMAGES/$name-$(fingerprint "$name").tar
    if [ ! -f "$archive" ]; then
      timed "image $name" build_archive "$name" "$archive"
      find "$IMAGES" -name "$name-*.tar" ! -path "$archive" -delete
    fi
    [ ! -S "$SOCK" ] || import_once "$name" "$archive"
  done
}

# archive IMAGE VERSION FILE: build an image and write it as an OCI archive that contains it as localhost/IMAGE:VERSION.
# A node that imports the archive takes this name as it is, and the chart looks for it with images.registry=localhost.
# Without SOCK the image is not imported into this node, which the archive does not need.
archive() {
  local image=$1 version=$2 file=$3 tag=localhost/$1:e2e SOCK=
  case $image in
    sandbox-full) full_image ;;
    sandbox-slim) images sandbox ;;
    *) images "${image#sandbox-}" ;;
  esac
  bud push --quiet "$tag" "oci-archive:$file.part:localhost/$image:$version"
  mv "$file.part" "$file"
}

import_once() {
  local mark=$STATE/containerd/imported-$1
  [ "$(cat "$mark" 2>/dev/null)" != "$2" ] || return 0
  timed "import $1" load "$2"
  echo "$2" >"$mark"
}

# pack_root NAME ROOT ENTRYPOINT_JSON ARCHIVE: pack a root file system into an image archive with one layer.
pack_root() {
  python3 - "$@" <<'PY'
import hashlib, io, json, sys, tarfile

name, root, entrypoint, target = sys.argv[1:]
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as archive:
    archive.add(root, ".")
digest = hashlib.sha256(layer.getvalue()).hexdigest()
config = json.dumps({
    "architecture": "amd64", "os": "linux", "config": {"Entrypoint": json.loads(entrypoint)},
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
}).encode()
config_name = hashlib.sha256(config).hexdigest() + ".json"
manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
with tarfile.open(target, "w") as archive:
    for member, data in ((config_name, config), ("manifest.json", manifest), ("layer.tar", layer.getvalue())):
        info = tarfile.TarInfo(member)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
PY
}
