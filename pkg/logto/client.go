package logto

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// UserAgent is the User-Agent of a Client's requests. Logto writes it into the webhooks that a request causes, so that
// their receiver can tell the writes of jobs from those of people.
const UserAgent = "m2mjobs"

// maxAnswer bounds the body of an answer: a page of 100 users with 300 kB of custom data each.
const maxAnswer = 32 << 20

// errTooLarge is what reading more than maxAnswer gives.
var errTooLarge = fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)

// Config says which tenant a Client talks to.
type Config struct {
	// Endpoint is the tenant's address, as in m2m.Credentials: scheme and host, and a path only if Logto is served under
	// one. Required.
	Endpoint string
	// HTTPClient sends the requests and adds the access token: an http.Client over an m2m.Transport. Required. Redirects
	// are not followed, whatever its CheckRedirect says. The Client sets no time-out of its own: the context of each call
	// ends it.
	HTTPClient *http.Client
}

// Client calls the Management API. It may be used by several goroutines.
type Client struct {
	base string // {endpoint}/api
	http *http.Client
}

// NewClient makes a Client. It sends nothing yet. An error says which field of the Config is wrong.
func NewClient(c Config) (*Client, error) {
	u, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("making a Management API client: %w", err)
	}
	if c.HTTPClient == nil {
		return nil, errors.New("making a Management API client: no HTTPClient: give an http.Client over an m2m.Transport")
	}
	client := *c.HTTPClient
	// A redirect would carry users' data, in the body or in the Referer, to a host that nobody named.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{base: strings.TrimRight(u.String(), "/") + "/api", http: &client}, nil
}

// Endpoint is the tenant's address, without a slash at its end.
func (c *Client) Endpoint() string { return strings.TrimSuffix(c.base, "/api") }

func parseEndpoint(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		// The parser's error would show the whole address, and with it a password.
		return nil, errors.New("the endpoint is not an address: give one such as https://{tenant-id}.logto.app")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, fmt.Errorf("endpoint %q has no scheme or host: give one such as https://{tenant-id}.logto.app", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("endpoint %q has a query, fragment or user: leave it out", u.Redacted())
	}
	return u, nil
}

// ManagementResource is the resource indicator of the Management API of the tenant at endpoint:
// https://{tenant-id}.logto.app/api on Logto Cloud, https://default.logto.app/api on a self-hosted server.
//
// A custom domain of a Logto Cloud tenant looks like a self-hosted server here, and would not work with either resource:
// the Management API accepts only tokens from {tenant-id}.logto.app. Use that endpoint. Where the resource is another,
// give it as m2m.Config.Resource instead of this function as ResourceOf.
func ManagementResource(endpoint string) string {
	const selfHosted = "https://default.logto.app/api"
	u, err := url.Parse(endpoint)
	if err != nil {
		return selfHosted
	}
	host := strings.ToLower(u.Hostname())
	tenant, cloud := strings.CutSuffix(host, ".logto.app")
	if !cloud || tenant == "" || strings.Contains(tenant, ".") {
		return selfHosted
	}
	return "https://" + host + "/api"
}

// do sends one request and decodes the answer into out. path begins with "/" and is escaped already.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte, out any) (http.Header, error) {
	req, err := c.newRequest(ctx, method, path, query, body)
	if err != nil {
		return nil, fmt.Errorf("%s /api%s: %w", method, path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		// The *url.Error names the whole address, whose query is the values that were searched; its cause is enough.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("%s /api%s: %w", method, path, err)
	}
	err = c.read(req, resp, out)
	drain(resp.Body)
	if closeErr := resp.Body.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("%s /api%s: closing the answer: %w", method, path, closeErr)
	}
	return resp.Header, err
}

func (c *Client) newRequest(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Request, error) {
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body) // http.NewRequest makes GetBody of it
	}
	req, err := http.NewRequestWithContext(ctx, method, target, reader)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", UserAgent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
		// A merge may be repeated: the end is the same. So may the making of an app secret, whose name is taken once. The key
		// without a value says so to net/http and m2m.Transport and is not sent (net/http, type Transport).
		req.Header["Idempotency-Key"] = nil
	}
	return req, nil
}

// read decodes a success into out, unless that is nil, and makes an *Error of everything else.
func (c *Client) read(req *http.Request, resp *http.Response, out any) error {
	what := req.Method + " " + req.URL.EscapedPath()
	switch {
	case resp.StatusCode == http.StatusNoContent && out == nil:
		return nil
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated:
		return newError(req, resp)
	}
	dec := json.NewDecoder(&boundedReader{r: resp.Body, left: maxAnswer})
	dec.UseNumber()
	if err := dec.Decode(out); err != nil {
		if id := requestID(resp); id != "" {
			what += " (request id " + id + ")"
		}
		return fmt.Errorf("%s: reading the answer: %w", what, noData(err))
	}
	return nil
}

// drain reads what may be left of an answer, because only a connection whose answer was read to its end is used again.
func drain(r io.Reader) {
	// A failure here costs a new connection and nothing else.
	if _, err := io.CopyN(io.Discard, r, maxError); err != nil {
		return
	}
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// noData keeps an error of encoding/json from showing what was in the answer.
func noData(err error) error {
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &mistyped) {
		return errors.New("it is not the JSON expected: is this endpoint a Logto server?")
	}
	return err
}

// boundedReader is an io.LimitReader that does not take the limit for the end.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

// userPath is the path of a user. An id that would make another path of it is refused.
func userPath(id, suffix string) (string, error) {
	part, err := pathPart("a user id", id)
	return "/users/" + part + suffix, err
}

// pathPart escapes what is to be one part of a path.
func pathPart(what, value string) (string, error) {
	if value == "" || value == "." || value == ".." {
		return "", fmt.Errorf("%q is not %s", value, what)
	}
	return url.PathEscape(value), nil
}

// totalNumber reads the header Total-Number; -1 if there is none.
func totalNumber(h http.Header) int {
	n, err := strconv.Atoi(h.Get("Total-Number"))
	if err != nil {
		return -1
	}
	return n
}
