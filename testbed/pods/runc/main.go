// A runc for computers whose cgroup 2 has no controllers, such as those that still give them to cgroup 1: it takes the
// limits out of a container's configuration, and hands over to the real runc, which would refuse what it cannot limit.
// What a container may do and see is left as it is.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

const real = "/usr/sbin/runc"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "runc without limits:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	// Its files are limits only.
	if slices.Contains(args, "update") {
		return nil
	}
	if index := slices.Index(args, "--bundle"); index >= 0 && index+1 < len(args) {
		if err := unlimit(filepath.Join(args[index+1], "config.json")); err != nil {
			return err
		}
	}
	return syscall.Exec(real, append([]string{real}, args...), os.Environ())
}

func unlimit(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	linux, _ := config["linux"].(map[string]any)
	resources, _ := linux["resources"].(map[string]any)
	for name := range resources {
		if name != "devices" {
			delete(resources, name)
		}
	}
	text, err = json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
