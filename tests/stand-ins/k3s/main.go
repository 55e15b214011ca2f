// A STAND-IN for k3s, for machines that cannot have it: no pods, no API. Real are a member of etcd in each server, with its
// membership (a joining member is a learner first, and is promoted), TLS, the tokens, the flags, and /readyz for the
// administrator's certificate only. A server founds a cluster, joins one or continues with its data as in k3s'
// pkg/cluster/bootstrap.go; `k3s kubectl delete node NAME` removes a member, as k3s' own controller does.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	home = "/var/lib/rancher/k3s/server"
	etc  = "/etc/rancher/k3s"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "k3s (stand-in): "+err.Error())
		os.Exit(1)
	}
}

func run(words []string) error {
	// The unit's PATH has no etcd.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/bin:/run/current-system/sw/bin"); err != nil {
		return err
	}
	if len(words) == 0 {
		return fmt.Errorf("server, agent, kubectl or etcd-snapshot?")
	}
	switch words[0] {
	case "server", "agent":
		found, err := parse(words[0], words[1:])
		if err != nil {
			return err
		}
		if words[0] == "server" {
			return server(found)
		}
		return agent(found)
	case "kubectl":
		return kubectl(words[1:])
	}
	return fmt.Errorf("no command %q", words[0])
}

func server(f flags) error {
	token, err := f.token("token-file")
	if err != nil {
		return err
	}
	agents, err := f.token("agent-token-file")
	if err != nil {
		return err
	}
	data := filepath.Join(home, "db/etcd")
	address, join := f.one("node-ip"), f.one("server")
	// With data on the disk, --cluster-init and --server have no effect.
	_, err = os.Stat(filepath.Join(data, "member"))
	hasData := err == nil
	state := "existing"
	switch {
	case hasData:
	case join != "":
		if err := fetch(join, token, f); err != nil {
			return fmt.Errorf("failed to bootstrap cluster data: %w", err)
		}
	case f.one("cluster-init") != "true":
		return fmt.Errorf("neither data, --cluster-init nor --server: the real one would begin an empty cluster with sqlite")
	default:
		state = "new"
		if err := found(); err != nil {
			return err
		}
	}
	if err := leaves(f, address); err != nil {
		return err
	}
	name, err := memberName(f.one("node-name"))
	if err != nil {
		return err
	}
	cluster := name + "=https://" + address + ":2380"
	if !hasData && join != "" {
		// etcd accepts no new member while the existing ones are unhealthy.
		for tries := 0; ; tries++ {
			if cluster, err = enroll(join, name, f.one("node-name"), address); err == nil {
				break
			}
			if tries == 30 || strings.Contains(err.Error(), "duplicate node name") {
				return err
			}
			time.Sleep(time.Second)
		}
	}
	etcd, err := startEtcd(data, name, address, state, cluster)
	if err != nil {
		return err
	}
	go promote(name, join)
	if err := serve(f, token, agents); err != nil {
		return err
	}
	return wait(etcd)
}

// found creates the authorities, and records that a cluster was founded here: the tests count the records.
func found() error {
	for _, name := range authorities {
		files, err := authority(name)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(home, "tls"), files); err != nil {
			return err
		}
	}
	note, err := os.OpenFile("/var/lib/rancher/k3s-founded", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer note.Close()
	_, err = fmt.Fprintln(note, time.Now().Format(time.RFC3339))
	return err
}

// fetch requests the authorities from a server. It compares the settings that must match with the server's.
func fetch(server, token string, f flags) error {
	body, err := json.Marshal(f.critical())
	if err != nil {
		return err
	}
	request, err := http.NewRequest("POST", server+"/v1-k3s/server-bootstrap", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.SetBasicAuth("server", token)
	answer, err := client().Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, strings.TrimSpace(string(text)))
	}
	files := map[string]string{}
	if err := json.Unmarshal(text, &files); err != nil {
		return err
	}
	return write(filepath.Join(home, "tls"), files)
}

// client trusts any server, as k3s does for a token without the authority's digest.
func client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

func leaves(f flags, address string) error {
	directory := filepath.Join(home, "tls")
	names := append([]string{"localhost", "127.0.0.1", "kubernetes.default.svc", f.one("node-name"), address}, f["tls-san"]...)
	member := []string{"localhost", "127.0.0.1", f.one("node-name"), address}
	for _, row := range []struct {
		by, name, common string
		names            []string
	}{
		{"server-ca", "serving-kube-apiserver", "kube-apiserver", names},
		{"client-ca", "client-admin", "system:admin", nil},
		{"etcd/server-ca", "etcd/server-client", "etcd-server", member},
		{"etcd/server-ca", "etcd/client", "etcd-client", nil},
		{"etcd/peer-ca", "etcd/peer-server-client", "etcd-peer", member},
	} {
		if err := leaf(directory, row.by, row.name, row.common, row.names); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(etc, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(etc, "k3s.yaml"), []byte("# The stand-in has no API.\n"), 0o600)
}

// memberName is the node's name with a suffix that is stored on its disk only.
func memberName(node string) (string, error) {
	path := filepath.Join(home, "db/etcd-name")
	if name, err := os.ReadFile(path); err == nil {
		return string(name), nil
	}
	suffix := make([]byte, 4)
	if _, err := rand.Read(suffix); err != nil {
		return "", err
	}
	name := fmt.Sprintf("%s-%x", node, suffix)
	return name, write(filepath.Dir(path), map[string]string{filepath.Base(path): name})
}

type member struct {
	ID        uint64   `json:"ID"`
	Name      string   `json:"name"`
	PeerURLs  []string `json:"peerURLs"`
	IsLearner bool     `json:"isLearner"`
}

func etcdctl(endpoint string, words ...string) ([]byte, error) {
	directory := filepath.Join(home, "tls/etcd")
	words = append([]string{"--endpoints=" + endpoint, "--cacert=" + directory + "/server-ca.crt", "--cert=" + directory + "/client.crt",
		"--key=" + directory + "/client.key", "--command-timeout=5s"}, words...)
	output, err := exec.Command("etcdctl", words...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("etcdctl: %s", strings.TrimSpace(string(output)))
	}
	return output, nil
}

func members(endpoint string) ([]member, error) {
	output, err := etcdctl(endpoint, "member", "list", "--write-out=json")
	if err != nil {
		return nil, err
	}
	var list struct{ Members []member }
	return list.Members, json.Unmarshal(output, &list)
}

// enroll makes the node a learner of the running cluster. A node of that name must have been removed before.
func enroll(join, name, node, address string) (string, error) {
	server, err := url.Parse(join)
	if err != nil {
		return "", err
	}
	endpoint := "https://" + net.JoinHostPort(server.Hostname(), "2379")
	list, err := members(endpoint)
	if err != nil {
		return "", err
	}
	peer, known := "https://"+address+":2380", false
	var cluster []string
	for _, member := range list {
		own := contains(member.PeerURLs, peer)
		if own && member.Name != "" && member.Name != name || !own && strings.HasPrefix(member.Name, node+"-") {
			return "", fmt.Errorf("etcd cluster join failed: duplicate node name found, please use a unique name for this node")
		}
		known = known || own
		if !own {
			cluster = append(cluster, member.Name+"="+member.PeerURLs[0])
		}
	}
	if !known {
		if _, err := etcdctl(endpoint, "member", "add", name, "--learner", "--peer-urls="+peer); err != nil {
			return "", err
		}
	}
	return strings.Join(append(cluster, name+"="+peer), ","), nil
}

func startEtcd(data, name, address, state, cluster string) (*exec.Cmd, error) {
	directory := filepath.Join(home, "tls/etcd")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	etcd := exec.Command("etcd", "--name="+name, "--data-dir="+data,
		"--listen-client-urls=https://127.0.0.1:2379,https://"+address+":2379", "--advertise-client-urls=https://"+address+":2379",
		"--listen-peer-urls=https://"+address+":2380", "--initial-advertise-peer-urls=https://"+address+":2380",
		"--initial-cluster="+cluster, "--initial-cluster-state="+state, "--client-cert-auth", "--peer-client-cert-auth",
		"--trusted-ca-file="+directory+"/server-ca.crt", "--cert-file="+directory+"/server-client.crt",
		"--key-file="+directory+"/server-client.key", "--peer-trusted-ca-file="+directory+"/peer-ca.crt",
		"--peer-cert-file="+directory+"/peer-server-client.crt", "--peer-key-file="+directory+"/peer-server-client.key",
		"--log-level=warn")
	// This program reports READY itself.
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "NOTIFY_SOCKET=") && !strings.HasPrefix(variable, "ETCD_") {
			etcd.Env = append(etcd.Env, variable)
		}
	}
	etcd.Stdout, etcd.Stderr = os.Stderr, os.Stderr
	etcd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	return etcd, etcd.Start()
}

// promote makes a learner a voter as soon as etcd allows it. It uses the server that it joined: a learner refuses such requests.
func promote(name, join string) {
	server, err := url.Parse(join)
	if err != nil || join == "" {
		return
	}
	endpoint := "https://" + net.JoinHostPort(server.Hostname(), "2379")
	for ; ; time.Sleep(500 * time.Millisecond) {
		list, err := members(endpoint)
		if err != nil {
			continue
		}
		for _, member := range list {
			if member.Name != name {
				continue
			}
			if !member.IsLearner {
				return
			}
			_, _ = etcdctl(endpoint, "member", "promote", fmt.Sprintf("%x", member.ID))
		}
	}
}

func isReady() bool {
	_, err := etcdctl("https://127.0.0.1:2379", "endpoint", "health")
	return err == nil
}

func serve(f flags, token, agents string) error {
	directory := filepath.Join(home, "tls")
	certificate, err := load(directory, "serving-kube-apiserver")
	if err != nil {
		return err
	}
	clients, err := pool(filepath.Join(directory, "client-ca.crt"))
	if err != nil {
		return err
	}
	refuse := func(w http.ResponseWriter) { http.Error(w, "Unauthorized", http.StatusUnauthorized) }
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case len(r.TLS.VerifiedChains) == 0:
			refuse(w)
		case !isReady():
			http.Error(w, "[-]etcd failed", http.StatusInternalServerError)
		default:
			fmt.Fprint(w, "ok")
		}
	})
	mux.HandleFunc("/v1-k3s/server-bootstrap", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "server" || password != token {
			refuse(w)
			return
		}
		theirs := map[string]string{}
		if err := json.NewDecoder(r.Body).Decode(&theirs); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for name, own := range f.critical() {
			if theirs[name] != own {
				http.Error(w, "critical configuration value mismatch between servers: "+name, http.StatusBadRequest)
				return
			}
		}
		files := map[string]string{}
		for _, name := range authorities {
			for _, ending := range []string{".crt", ".key"} {
				if text, err := os.ReadFile(filepath.Join(directory, name+ending)); err == nil {
					files[name+ending] = string(text)
				}
			}
		}
		_ = json.NewEncoder(w).Encode(files)
	})
	mux.HandleFunc("/v1-k3s/connect", func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "node" || password != agents && password != token {
			refuse(w)
		}
	})
	listener, err := tls.Listen("tcp", ":"+f.one("https-listen-port"), &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven,
	})
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(listener, mux) }()
	go func() {
		for !isReady() {
			time.Sleep(200 * time.Millisecond)
		}
		notify()
	}()
	return nil
}

func notify() {
	if socket := os.Getenv("NOTIFY_SOCKET"); socket != "" {
		if connection, err := net.Dial("unixgram", socket); err == nil {
			_, _ = connection.Write([]byte("READY=1"))
		}
	}
}

// wait returns when etcd ends, or ends etcd on a signal.
func wait(etcd *exec.Cmd) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan error, 1)
	go func() { ended <- etcd.Wait() }()
	select {
	case err := <-ended:
		return fmt.Errorf("etcd ended: %v", err)
	case <-signals:
		_ = etcd.Process.Signal(syscall.SIGTERM)
		<-ended
		return nil
	}
}

func agent(f flags) error {
	token, err := f.token("token-file")
	if err != nil {
		return err
	}
	for {
		request, err := http.NewRequest("GET", f.one("server")+"/v1-k3s/connect", nil)
		if err != nil {
			return err
		}
		request.SetBasicAuth("node", token)
		if answer, err := client().Do(request); err == nil {
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s refuses the token: %s", f.one("server"), answer.Status)
			}
			if err := os.MkdirAll("/var/lib/rancher/k3s/agent", 0o700); err != nil {
				return err
			}
			if err := os.WriteFile("/var/lib/rancher/k3s/agent/connected", nil, 0o600); err != nil {
				return err
			}
			break
		}
		time.Sleep(time.Second)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
	return nil
}

func kubectl(words []string) error {
	list, err := members("https://127.0.0.1:2379")
	if err != nil {
		return err
	}
	switch {
	case len(words) == 2 && words[0] == "get" && words[1] == "nodes":
		fmt.Println("NAME STATUS")
		for _, member := range list {
			fmt.Println(member.Name[:strings.LastIndex(member.Name, "-")], "Ready")
		}
		return nil
	case len(words) == 3 && words[0] == "delete" && words[1] == "node":
		for _, member := range list {
			if strings.HasPrefix(member.Name, words[2]+"-") {
				_, err := etcdctl("https://127.0.0.1:2379", "member", "remove", fmt.Sprintf("%x", member.ID))
				return err
			}
		}
		return fmt.Errorf("nodes %q not found", words[2])
	}
	return fmt.Errorf("the stand-in knows `kubectl get nodes` and `kubectl delete node NAME`")
}
