package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// get sends a GET with the token, if there is one, and reads the answer's body. It follows no redirect: whoever has to is at
// another address than the configured one.
func (e *examination) get(ctx context.Context, address, token string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := *e.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("the answer of %s broke off: %w", address, err)
	}
	return resp, body, nil
}

// endpoint reads the discovery document, which every server of OpenID Connect has (OpenID Connect Discovery 1.0, section 4).
func (e *examination) endpoint(ctx context.Context) Finding {
	address := e.credentials.Endpoint + "/oidc/.well-known/openid-configuration"
	before := e.now()
	resp, body, err := e.get(ctx, address, "")
	if err != nil {
		return Failed(unreachable(err, `"endpoint" in the secret`, e.credentials.Endpoint), "no answer from %s: %v", e.credentials.Endpoint, cause(err))
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		// The header has whole seconds, so on average it is half a second behind.
		e.skew, e.dated = at.Add(500*time.Millisecond).Sub(before.Add(e.now().Sub(before)/2)), true
	}
	e.note429(resp, "the discovery document")
	var document struct {
		Issuer string `json:"issuer"`
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &document) != nil || document.Issuer == "" {
		return Failed(`give the address of Logto itself as "endpoint" in the secret, without a path and without the console's port: `+e.Secret.Put(),
			"%s answers %s and no discovery document", address, resp.Status)
	}
	e.issuerFound = document.Issuer
	if resp.TLS == nil {
		return Found("%s answers, without TLS on this machine", e.credentials.Endpoint)
	}
	return e.certificate(resp.TLS)
}

// soon is how long before its end a certificate should have been renewed by whatever renews it.
const soon = 14 * 24 * time.Hour

func (e *examination) certificate(state *tls.ConnectionState) Finding {
	found := fmt.Sprintf("%s answers, %s", e.credentials.Endpoint, tls.VersionName(state.Version))
	if len(state.PeerCertificates) == 0 {
		return Found("%s", found)
	}
	ends := state.PeerCertificates[0].NotAfter
	if ends.Sub(e.now()) < soon {
		return Warning("renew the certificate of "+e.credentials.Endpoint, "%s; its certificate ends on %s", found, ends.UTC().Format(time.DateOnly))
	}
	return Found("%s, certificate until %s", found, ends.UTC().Format(time.DateOnly))
}

// cause is an error of net/http without the method and the address that url.Error puts before it.
func cause(err error) error {
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// unreachable says what to do about a server that did not answer.
func unreachable(err error, where, address string) string {
	host := address
	if u, err := url.Parse(address); err == nil {
		host = u.Hostname()
	}
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("correct the host in %s, or the name server: `dig %s`", where, host)
	case errors.As(err, &name):
		return fmt.Sprintf("give a name that the certificate has in %s, or a certificate with %s to the server", where, host)
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return fmt.Sprintf("give %s a certificate that is valid and of a known authority: `openssl s_client -connect %s`", host, hostPort(address))
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Sprintf("the server speaks no TLS there: correct the port in %s", where)
	}
	return fmt.Sprintf("see that the server is up and that no firewall or security group is between: `curl -v %s`; else correct %s", address, where)
}

// hostPort is where a connection goes.
func hostPort(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), "443")
}

// issuer compares. A tenant of Logto Cloud with a custom domain answers at both addresses, and its Management API takes tokens
// of its own one alone.
func (e *examination) issuer(context.Context) Finding {
	want := e.credentials.Endpoint + "/oidc"
	if e.issuerFound == want {
		return Found("%s", want)
	}
	mend := "put the issuer's address, without /oidc, as \"endpoint\" into the secret (on Logto Cloud always https://TENANT-ID.logto.app): " + e.Secret.Put()
	return Failed(mend, "the issuer is %.200q, and the endpoint %s: tokens got here are refused there", e.issuerFound, e.credentials.Endpoint)
}

// Beyond warnSkew tokens may be refused as not yet valid: it is the leeway of m2m.Verifier and of most. Beyond failSkew AWS refuses
// signed requests, too (Signature Version 4: five minutes for most services).
const (
	warnSkew = 30 * time.Second
	failSkew = 5 * time.Minute
)

func (e *examination) clock(context.Context) Finding {
	if !e.dated {
		return Nothing("the answer has no Date header")
	}
	const mend = "set the clock by NTP (`timedatectl set-ntp true`), here or on Logto's server: a third clock tells which is wrong"
	direction := "behind"
	if e.skew < 0 {
		direction = "ahead of"
	}
	switch by := e.skew.Abs().Round(time.Second); {
	case by >= failSkew:
		return Failed(mend, "this clock is %s %s Logto's: AWS refuses requests, and APIs refuse tokens", by, direction)
	case by > warnSkew:
		return Warning(mend, "this clock is %s %s Logto's: APIs may refuse tokens", by, direction)
	default:
		return Found("%s apart, as far as a header of whole seconds tells", by)
	}
}

// note429 remembers that Logto has throttled.
func (e *examination) note429(resp *http.Response, what string) {
	if resp.StatusCode == http.StatusTooManyRequests {
		e.throttled = what
	}
}
