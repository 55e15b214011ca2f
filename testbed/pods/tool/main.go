// Tool is the only program of the test images: what runs in pods, and what a test runs in them.
//
//	tool pause                waits for the end of the pod, and reaps processes, as Kubernetes' own pause does
//	tool serve PORT           answers HTTP with its pod's name until it is told to end, then for DRAIN_SECONDS more
//	tool get URL              prints the body of an answer; fails unless its status is 200
//	tool lookup NAME          prints the addresses of a name, sorted
//	tool print WORD...        prints words, for Jobs
//	tool read FILE...         prints files
//	tool write FILE WORD...   writes words into a file
//	tool whoami               prints who the cluster's API takes the pod for, by its own service account
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tool:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("a command is missing")
	}
	commands := map[string]func([]string) error{
		"get": get, "lookup": lookup, "pause": pause, "print": show, "read": read, "serve": serve,
		"whoami": whoami, "write": write,
	}
	command, known := commands[args[0]]
	if !known {
		return fmt.Errorf("unknown command %q", args[0])
	}
	return command(args[1:])
}

func pause([]string) error {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-ended:
			return nil
		case <-children:
			for {
				var status syscall.WaitStatus
				if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}

// A pod that ends is still sent requests until every node has removed it from the Service.
func drain() time.Duration {
	seconds, err := strconv.Atoi(os.Getenv("DRAIN_SECONDS"))
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func serve(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("serve takes a port")
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s\n", host, os.Getenv("RELEASE"))
	})
	mux.HandleFunc("/peer", func(w http.ResponseWriter, r *http.Request) {
		address, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, address)
	})
	server := &http.Server{Addr: ":" + args[0], Handler: mux}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	finished := make(chan error, 1)
	go func() {
		<-ended.Done()
		time.Sleep(drain())
		last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		finished <- server.Shutdown(last)
	}()
	fmt.Println("serving on port", args[0])
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return <-finished
}

func get(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("get takes a URL")
	}
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", args[0], answer.Status)
	}
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func lookup(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("lookup takes a name")
	}
	limit, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(limit, args[0])
	if err != nil {
		return err
	}
	slices.Sort(addresses)
	fmt.Println(strings.Join(addresses, "\n"))
	return nil
}

func show(args []string) error {
	_, err := fmt.Println(strings.Join(args, " "))
	return err
}

func read(args []string) error {
	for _, path := range args {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.Write(text); err != nil {
			return err
		}
	}
	return nil
}

func whoami([]string) error {
	const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(authority) {
		return fmt.Errorf("no certificate in %sca.crt", account)
	}
	client := http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}},
	}
	question := strings.NewReader(`{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}`)
	request, err := http.NewRequest(http.MethodPost, "https://kubernetes.default.svc/apis/authentication.k8s.io/v1/selfsubjectreviews", question)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var review struct {
		Status struct{ UserInfo struct{ Username string } }
	}
	if err := json.NewDecoder(answer.Body).Decode(&review); err != nil {
		return fmt.Errorf("%s: %w", answer.Status, err)
	}
	_, err = fmt.Println(review.Status.UserInfo.Username)
	return err
}

func write(args []string) error {
	if len(args) < 1 {
		return fmt.Errorf("write takes a file and words")
	}
	return os.WriteFile(args[0], []byte(strings.Join(args[1:], " ")+"\n"), 0o644)
}
