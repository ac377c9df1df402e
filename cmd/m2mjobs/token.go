package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/m2mjobs/m2mjobs/internal/function"
	"github.com/m2mjobs/m2mjobs/pkg/m2m"
)

type token struct {
	Resource     string   `placeholder:"R" help:"The API resource's indicator. Default: the Management API of the tenant."`
	Scope        []string `placeholder:"S" help:"A scope to ask for; repeat for more. Default for the Management API: all."`
	Organization string   `placeholder:"ID" help:"Ask for a token of this organization."`
	EnvFile      string   `type:"existingfile" placeholder:"FILE" help:"Variables, NAME=value a line. Those that are set already win."`
	Raw          bool     `help:"Print the token itself and nothing else. Whoever has it can use it until it expires."`
}

// Help is shown by --help.
func (token) Help() string {
	return `Gets an access token with the app's credentials from M2M_SECRET_FILE or M2M_SECRET_ID, verifies it as an API would,
and shows its claims, what was granted of what was asked, and how long it lives. Each call costs one token of the
tenant's quota.

  M2M_SECRET_FILE=app.json m2mjobs token
  M2M_SECRET_FILE=app.json m2mjobs token --resource https://shopping.api --scope read:orders`
}

// Run gets the token and shows it.
func (c *token) Run(ctx context.Context, io stdio) error {
	if err := loadVariables(c.EnvFile); err != nil {
		return err
	}
	base := m2m.NewBase()
	defer base.CloseIdleConnections()
	client := &http.Client{Transport: base, Timeout: 30 * time.Second}
	source, config, err := function.NewSource(function.Process(), m2m.Config{
		Resource:       c.Resource,
		Scopes:         c.Scope,
		OrganizationID: c.Organization,
		HTTPClient:     client,
	})
	if err != nil {
		return err
	}
	got, err := source.Token(ctx)
	if err != nil {
		return err
	}
	if c.Raw {
		_, err := fmt.Fprintln(io.out, got.AccessToken)
		return err
	}
	endpoint, err := source.Endpoint(ctx)
	if err != nil {
		return err
	}
	audience := config.Resource
	if audience == "" && config.ResourceOf != nil {
		audience = config.ResourceOf(endpoint)
	}
	if audience == "" {
		audience = "urn:logto:organization:" + c.Organization
	}
	verifier, err := m2m.NewVerifier(m2m.VerifierConfig{Issuer: endpoint + "/oidc", Audience: audience, HTTPClient: client})
	if err != nil {
		return err
	}
	verified, err := verifier.Verify(ctx, got.AccessToken)
	if err != nil {
		return fmt.Errorf("the tenant gave a token that an API would refuse: %w", err)
	}
	return c.show(io.out, config.Scopes, verified)
}

// show prints the verified claims.
func (c *token) show(w io.Writer, asked []string, t *m2m.AccessToken) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(table, "%s\t%s\n", name, value) }
	row("app (client_id)", t.ClientID)
	row("subject (sub)", t.Subject)
	row("resource (aud)", strings.Join(t.Audience, " "))
	row("issuer (iss)", t.Issuer)
	row("token id (jti)", t.ID)
	if t.OrganizationID != "" {
		row("organization", t.OrganizationID)
	}
	row("asked", orNothing(asked))
	row("granted (scope)", orNothing(t.Scopes))
	row("issued (iat)", t.IssuedAt.UTC().Format(time.RFC3339))
	row("expires (exp)", t.Expiry.UTC().Format(time.RFC3339))
	row("lifetime", t.Expiry.Sub(t.IssuedAt).String())
	row("signature", "verified with the issuer's keys")
	return table.Flush()
}

func orNothing(scopes []string) string {
	if len(scopes) == 0 {
		return "nothing"
	}
	return strings.Join(scopes, " ")
}
