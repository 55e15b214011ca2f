package main

import (
	"fmt"
	"os"
	"strings"
)

// The flags of `k3s server` and `k3s agent` (k3s-io/k3s, pkg/cli/cmds/server.go and agent.go). Other flags are
// refused, as by the real one.
const (
	common = `config debug v vmodule log alsologtostderr token token-file server data-dir node-name with-node-id! node-label
		node-taint image-credential-provider-bin-dir image-credential-provider-config selinux! lb-server-port
		protect-kernel-defaults! container-runtime-endpoint default-runtime image-service-endpoint
		disable-default-registry-endpoint! pause-image snapshotter private-registry airgap-extra-registry node-ip
		node-external-ip node-internal-dns node-external-dns resolv-conf flannel-iface flannel-conf flannel-cni-conf
		kubelet-arg kube-proxy-arg rootless! prefer-bundled-bin! docker! vpn-auth vpn-auth-file`
	ofServer = `bind-address https-listen-port advertise-address advertise-port tls-san tls-san-security! cluster-cidr
		service-cidr service-node-port-range cluster-dns cluster-domain flannel-backend flannel-ipv6-masq! flannel-external-ip!
		egress-selector-mode servicelb-namespace write-kubeconfig write-kubeconfig-mode write-kubeconfig-group helm-job-image
		agent-token agent-token-file cluster-init! cluster-reset! cluster-reset-restore-path kube-apiserver-arg etcd-arg
		kube-controller-manager-arg kube-scheduler-arg kube-cloud-controller-manager-arg datastore-endpoint datastore-cafile
		datastore-certfile datastore-keyfile etcd-expose-metrics! etcd-disable-snapshots! etcd-snapshot-name
		etcd-snapshot-schedule-cron etcd-snapshot-retention etcd-snapshot-dir etcd-snapshot-compress! etcd-s3! etcd-s3-endpoint
		etcd-s3-endpoint-ca etcd-s3-skip-ssl-verify! etcd-s3-access-key etcd-s3-secret-key etcd-s3-bucket etcd-s3-region
		etcd-s3-folder etcd-s3-insecure! etcd-s3-timeout default-local-storage-path disable disable-scheduler!
		disable-cloud-controller! disable-kube-proxy! disable-network-policy! disable-helm-controller! disable-apiserver!
		disable-controller-manager! disable-etcd! embedded-registry! supervisor-metrics! system-default-registry
		secrets-encryption! enable-pprof! disable-agent!`
)

// Settings that must be equal on all servers of a cluster (pkg/daemons/config, CriticalControlArgs).
var critical = []string{"cluster-cidr", "service-cidr", "cluster-dns", "cluster-domain", "disable", "flannel-backend",
	"secrets-encryption", "disable-kube-proxy", "disable-network-policy", "egress-selector-mode"}

var (
	backends   = []string{"none", "vxlan", "host-gw", "wireguard-native"}
	components = []string{"coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"}
)

type flags map[string][]string

// parse takes --name=value, --name value and --name, and the environment variables of flags that have one.
func parse(role string, words []string) (flags, error) {
	known := map[string]bool{}
	list := common
	if role == "server" {
		list += " " + ofServer
	}
	for _, name := range strings.Fields(list) {
		known[strings.TrimSuffix(name, "!")] = strings.HasSuffix(name, "!")
	}
	found := flags{}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		name, value, hasValue := strings.Cut(strings.TrimLeft(word, "-"), "=")
		isSwitch, isKnown := known[name]
		switch {
		case !strings.HasPrefix(word, "-"):
			return nil, fmt.Errorf("unexpected argument %q", word)
		case !isKnown:
			return nil, fmt.Errorf("flag provided but not defined: -%s", name)
		case isSwitch && !hasValue:
			value = "true"
		case !hasValue && len(words) == 0:
			return nil, fmt.Errorf("flag needs an argument: -%s", name)
		case !hasValue:
			value, words = words[0], words[1:]
		}
		found[name] = append(found[name], value)
	}
	for variable, name := range map[string]string{"K3S_CLUSTER_INIT": "cluster-init", "K3S_URL": "server", "K3S_TOKEN_FILE": "token-file"} {
		if value := os.Getenv(variable); value != "" && len(found[name]) == 0 {
			found[name] = []string{value}
		}
	}
	return found, found.check(role)
}

func (f flags) check(role string) error {
	for _, name := range []string{"token", "agent-token"} {
		if len(f[name]) > 0 {
			return fmt.Errorf("the stand-in takes no --%s: it would be in the process list", name)
		}
	}
	if backend := f.one("flannel-backend"); backend != "" && !contains(backends, backend) {
		return fmt.Errorf("unknown flannel backend %q", backend)
	}
	for _, name := range f["disable"] {
		if !contains(components, name) {
			return fmt.Errorf("invalid value %q for --disable", name)
		}
	}
	if role == "agent" && f.one("server") == "" {
		return fmt.Errorf("--server is required")
	}
	if cron := f.one("etcd-snapshot-schedule-cron"); cron != "" && len(strings.Fields(cron)) != 5 {
		return fmt.Errorf("expected exactly 5 fields, found %d: %s", len(strings.Fields(cron)), cron)
	}
	return nil
}

func (f flags) one(name string) string {
	if len(f[name]) == 0 {
		return ""
	}
	return f[name][len(f[name])-1]
}

// critical returns what must be the same on all servers.
func (f flags) critical() map[string]string {
	values := map[string]string{}
	for _, name := range critical {
		values[name] = strings.Join(f[name], ",")
	}
	return values
}

// token reads a token's file: one word.
func (f flags) token(name string) (string, error) {
	path := f.one(name)
	if path == "" {
		return "", fmt.Errorf("--%s is required", name)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(content))
	if len(token) < 16 || strings.ContainsAny(token, " \t\r\n:") {
		return "", fmt.Errorf("%s holds no token", path)
	}
	return token, nil
}

func contains(list []string, wanted string) bool {
	for _, item := range list {
		if item == wanted {
			return true
		}
	}
	return false
}
