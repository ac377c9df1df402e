package emulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// OIDCClient is an application that an OIDC server knows.
type OIDCClient struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// OIDC is an authorization server: the npm package oidc-provider, on which Logto is built, with client credentials and
// resource indicators (RFC 8707).
type OIDC struct {
	// Issuer is its address and the iss of its tokens.
	Issuer  string
	process *process
	said    *os.File
}

// StartOIDC starts one that knows these clients and one API resource with its scopes.
func StartOIDC(resource string, scopes []string, clients ...OIDCClient) (*OIDC, error) {
	modules, err := Tool("oidc/package.json")
	if err != nil {
		return nil, err
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	settings, err := json.Marshal(map[string]any{"resource": resource, "scopes": scopes, "clients": clients})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("node", filepath.Join(root, "e2e", "emulator", "oidc.mjs"), filepath.Dir(modules))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = write
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	if err := write.Close(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(in, "%s\n", settings); err != nil {
		return nil, err
	}
	// It says its address when it listens. Its standard input stays open: it ends with it.
	if err := read.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(read).ReadString('\n')
	o := &OIDC{Issuer: strings.TrimSpace(line), process: p, said: read}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("oidc-provider did not start: %w", err), o.Close(), errors.New(p.output.String()))
	}
	return o, nil
}

// Close stops it.
func (o *OIDC) Close() error { return errors.Join(o.process.close(), o.said.Close()) }
