package emulator

import (
	"os/exec"
	"path/filepath"
)

// OIDCClient is an application that an OIDC server knows.
type OIDCClient struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// OIDCResource is an API resource that an OIDC server knows.
type OIDCResource struct {
	Scopes []string `json:"scopes"`
	Opaque bool     `json:"opaque"` // its tokens are not JWTs
}

// OIDC is an authorization server: the npm package oidc-provider, on which Logto is built, with client credentials and
// resource indicators (RFC 8707).
type OIDC struct {
	// Issuer is its address and the iss of its tokens.
	Issuer string
	child  *child
}

// StartOIDC starts one that knows these clients and these API resources, with the scopes of each.
func StartOIDC(resources map[string]OIDCResource, clients ...OIDCClient) (*OIDC, error) {
	modules, err := Tool("oidc/package.json")
	if err != nil {
		return nil, err
	}
	root, err := Root()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("node", filepath.Join(root, "e2e", "emulator", "oidc.mjs"), filepath.Dir(modules))
	c, issuer, err := startChild(cmd, map[string]any{"resources": resources, "clients": clients})
	if err != nil {
		return nil, err
	}
	return &OIDC{issuer, c}, nil
}

// RotateKeys has it sign with a new key. With keepOld the keys before stay in its key set.
func (o *OIDC) RotateKeys(keepOld bool) error {
	_, err := o.child.ask(map[string]bool{"keepOld": keepOld})
	return err
}

// Close stops it.
func (o *OIDC) Close() error { return o.child.close() }
